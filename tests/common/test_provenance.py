"""A model's records are read from the very place that the model was loaded from."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub.stand_in import StandInHub
from huggingface_hub import constants

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel
from modeling_fbclip.common.provenance import TRAINING_RECORD, copy_records, recorded_images


def save_model(folder: Path, digest: str) -> Path:
    make_tiny_model().save_pretrained(folder)
    (folder / TRAINING_RECORD).write_text(json.dumps({"image_digests": [digest]}))
    return folder


@pytest.fixture
def repo_id(tmp_path: Path) -> str:
    """One name a test: huggingface_hub remembers in which commit a name ended."""
    return f"ada/{tmp_path.name}"


@pytest.fixture
def standin(tmp_path: Path, repo_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A Hub with one model: records of "main" and "older" on the branches of these names, "nested" in `small/`."""
    with StandInHub(tmp_path / "hub", {"hf_ada": "ada"}) as standin:
        monkeypatch.setattr(constants, "ENDPOINT", standin.endpoint)
        template = f"{standin.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        repository = standin.repositories.create("model", repo_id, private=True)
        for branch in ("main", "older"):
            files = {path.name: path for path in save_model(tmp_path / branch, branch).iterdir()}
            files |= {f"small/{path.name}": path for path in save_model(tmp_path / "nested", "nested").iterdir()}
            contents = {name: repository.add(path.read_bytes()) for name, path in files.items()}
            repository.commit(branch, None, contents, "all")
        yield standin


def test_records_of_a_subfolder_are_read_and_copied(tmp_path: Path) -> None:
    save_model(tmp_path / "model", "outer")
    save_model(tmp_path / "model/small", "inner")
    model = FBCLIPModel.from_pretrained(tmp_path / "model", subfolder="small")
    assert recorded_images(model) == {"inner"}
    copy_records(model, tmp_path)
    assert json.loads((tmp_path / TRAINING_RECORD).read_text()) == {"image_digests": ["inner"]}


def test_a_model_without_a_record_has_none(tmp_path: Path) -> None:
    assert recorded_images(make_tiny_model()) is None
    make_tiny_model().save_pretrained(tmp_path)
    assert recorded_images(FBCLIPModel.from_pretrained(tmp_path)) is None


def test_revision_subfolder_cache_and_token_are_those_of_the_model(
    standin: StandInHub, repo_id: str, tmp_path: Path
) -> None:
    place = {"token": "hf_ada", "cache_dir": tmp_path / "cache"}
    for where, digest in (({}, "main"), ({"revision": "older"}, "older"), ({"subfolder": "small"}, "nested")):
        model = FBCLIPModel.from_pretrained(repo_id, **where, **place)
        assert recorded_images(model) == {digest}
    assert list(tmp_path.glob(f"cache/models--ada--*/snapshots/*/{TRAINING_RECORD}"))
    model.save_pretrained(tmp_path / "saved")
    assert not any("hf_ada" in file.read_text() for file in (tmp_path / "saved").glob("*.json"))
    repository = standin.repositories.get("model", repo_id)
    repository.commit("main", None, {}, "nothing")
    model.loaded_from["subfolder"] = ""
    assert recorded_images(model) is None


@pytest.mark.parametrize("status", [500, 403, None])
def test_a_hub_that_cannot_be_asked_is_told(
    standin: StandInHub,
    repo_id: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the library's own tries
    model = FBCLIPModel.from_pretrained(repo_id, token="hf_ada", cache_dir=tmp_path / "cache")
    standin.fail(TRAINING_RECORD, status)
    reason = recorded_images(model)
    assert isinstance(reason, str)
    assert reason.startswith(f"{repo_id}: {TRAINING_RECORD} cannot be looked up: ")
    assert caplog.messages[-1] == f"It is unknown which images the model was trained on. {reason}"
    assert "\n" not in reason
    copy_records(model, tmp_path)
    assert caplog.messages[-1] == f"The record is not copied. {reason}"
    assert not (tmp_path / TRAINING_RECORD).exists()
