"""Models that visitors name: their files are not trusted and limited in size."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from modeling_fbclip.demo import models
from modeling_fbclip.demo.models import BUNDLED, Models

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the Hub that has one model under every name, and records the requests."""
    folder = tmp_path / "hub"
    model = make_tiny_model()
    model.half().save_pretrained(folder)
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder)
    (folder / "modeling_fbclip.py").write_text("raise SystemExit('code of the model')")
    asked = SimpleNamespace(folder=folder, size=1000, names=[], tokens=[], copies=[])

    class Api:
        def model_info(self, *_, token, **__):
            asked.tokens.append(token)
            return SimpleNamespace(sha="0" * 40, siblings=[SimpleNamespace(size=asked.size)])

    def download(name, *, token, local_dir, **_):
        asked.names.append(name)
        asked.tokens.append(token)
        asked.copies.append(local_dir)
        shutil.copytree(folder, local_dir)

    monkeypatch.setattr(models, "HfApi", Api)
    monkeypatch.setattr(models, "snapshot_download", download)
    return asked


def test_a_visitors_model_is_loaded_once_in_float32_without_token_or_copy(hub):
    known = Models()
    first = known.get("ada/parts")
    assert known.get("ada/parts") is first
    assert known.is_loaded("ada/parts")
    assert (hub.names, hub.tokens) == (["ada/parts"], [False, False])
    assert {parameter.dtype for parameter in first.model.parameters()} == {torch.float32}
    assert not hub.copies[0].exists()
    assert known.names == [BUNDLED]


@pytest.mark.usefixtures("hub")
def test_only_the_newest_of_visitors_models_stay_in_memory():
    known = Models()
    for name in ("a/a", "b/b", "c/c"):
        known.get(name)
    assert [known.is_loaded(name) for name in ("a/a", "b/b", "c/c")] == [False, True, True]


@pytest.mark.parametrize("name", ["../parts", "/etc/passwd", "parts", "a/b/c", ["a/b"], None, "a/..\\b"])
def test_a_name_that_is_not_a_hub_id_is_not_requested(hub, name):
    with pytest.raises(ValueError, match="is not in the list of models"):
        Models().get(name)
    assert hub.names == []


def test_a_visitors_model_is_limited_in_file_size_and_input_size(hub):
    hub.size = models.MAX_HUB_BYTES + 1
    with pytest.raises(ValueError, match=r"a/b cannot be loaded: a/b has 4\.0 GB, more than the 4 GB"):
        Models().get("a/b")
    assert hub.names == []
    hub.size = 1000
    config = json.loads((hub.folder / "config.json").read_text())
    (hub.folder / "config.json").write_text(json.dumps(config | {"image_size": 8000}))
    with pytest.raises(ValueError, match=r"a/b cannot be loaded: .*at most 1024 a side"):
        Models().get("a/b")
