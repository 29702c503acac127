"""Names on the Hub, and a Hub that does not answer: a short wait, the local copy, and a line about it."""

import logging
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub.stand_in import StandInHub
from huggingface_hub import constants

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.common import hub
from modeling_fbclip.common.hub import asking_hub, hub_answers, is_hub_id
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.common.provenance import recorded_images
from modeling_fbclip.detection.loading import load_detector


@pytest.mark.parametrize(
    "name", ["a/b", "owner/name", "openai/clip-vit-large-patch14-336", "_a/b.c_d-1", "a/" + "b" * 96]
)
def test_names_of_the_form_owner_name_may_be_on_the_hub(name: str) -> None:
    assert is_hub_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "a/",
        "/b",
        "a/b/c",
        "./a",
        "../a",
        "~/a",
        "a/..",
        "a/b c",
        "a/-b",
        "a/b-",
        "a/b--c",
        "a/b.git",
        "ä/b",
        "a/b\n",
    ],
)
def test_paths_and_other_names_are_not_on_the_hub(name: str) -> None:
    assert not is_hub_id(name)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that accepts and never answers, as that of the Hub."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "PATIENCE", 0.2)
        yield endpoint


def point_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_a_silent_hub_is_asked_once_and_its_name_told(
    silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    point_to(silent, monkeypatch)
    begun = time.monotonic()
    with asking_hub("owner/name") as answers:
        assert not answers
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    assert time.monotonic() - begun < 1
    assert caplog.messages == ["The Hub does not answer; taking the local copy of owner/name, if there is one."]


def test_a_hub_that_is_switched_off_is_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub_answers()
    with asking_hub("owner/name"):
        pass
    assert caplog.messages == []


def test_a_model_is_loaded_from_its_local_copy_when_the_hub_falls_silent(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    model, repo_id = make_tiny_model(), f"ada/{tmp_path.name}"
    model.save_pretrained(tmp_path / "model")
    FBCLIPProcessor.from_config(model.config).save_pretrained(tmp_path / "model")
    with StandInHub(tmp_path / "hub", {"hf_ada": "ada"}) as standin:
        point_to(standin.endpoint, monkeypatch)
        repository = standin.repositories.create("model", repo_id, private=False)
        files = {path.name: repository.add(path.read_bytes()) for path in (tmp_path / "model").iterdir()}
        repository.commit("main", None, files, "all")
        online = load_detector(repo_id, "cpu").model
        assert caplog.messages == []
    point_to(silent, monkeypatch)
    begun = time.monotonic()
    local = load_detector(repo_id, "cpu").model
    assert all(weight.equal(online.state_dict()[name]) for name, weight in local.state_dict().items())
    assert isinstance(recorded_images(local), str)
    assert time.monotonic() - begun < 5
    assert caplog.messages[0] == f"The Hub does not answer; taking the local copy of {repo_id}, if there is one."
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(ArgumentError, match=f"{repo_id} cannot be loaded: the Hub does not answer, and there is no"):
        load_detector(repo_id, "cpu")
