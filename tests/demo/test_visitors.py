"""Models that visitors name: tried in a process of its own, whose Hub is a stand-in on 127.0.0.1."""

import json
import time
from types import SimpleNamespace

import pytest
import torch
from hub.stand_in import StandInHub
from modeling_fbclip.demo import visitors
from modeling_fbclip.demo.models import BUNDLED, Models

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor

LIMITED = """
import sys
from pathlib import Path
from modeling_fbclip.demo import visitors
visitors.{setting} = {value}
visitors.main(sys.argv[1], Path(sys.argv[2]))
"""
SECRET = "hf_" + "operatorXoperatorXoperatorXopera"


@pytest.fixture(scope="module")
def model_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("model")
    model = make_tiny_model()
    model.half().save_pretrained(folder)
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"modeling_fbclip.py": b"raise SystemExit('code of the model')"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with StandInHub(tmp_path / "hub", {}) as standin:
        settings = {"HF_ENDPOINT": standin.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        for name, value in (settings | {"HF_TOKEN": SECRET, "HF_HOME": str(tmp_path / "home")}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        yield standin


def publish(hub: StandInHub, repo_id: str, files: dict[str, bytes]) -> None:
    hub.repositories.create("model", repo_id, private=False)
    repository = hub.repositories.get("model", repo_id)
    commit = repository.branches["main"]
    added = {name: repository.add(content) for name, content in files.items()}
    repository.commit("main", commit, repository.files(commit) | added, "files")


def test_a_visitors_model_is_loaded_once_without_its_code_and_leaves_nothing(hub, model_files, tmp_path):
    publish(hub, "ada/parts", model_files)
    known = Models(allow_hub=True)
    first = known.load("ada/parts")
    assert known.load("ada/parts") is known.get("ada/parts") is first
    assert known.is_loaded("ada/parts")
    assert {parameter.dtype for parameter in first.model.parameters()} == {torch.float32}
    assert known.names == [BUNDLED]
    # The stand-in refuses every token that it does not know.
    assert hub.count("resolve/.*/model.safetensors") == 2  # asked for, and fetched
    assert hub.count("modeling_fbclip.py") == 0
    assert not list(tmp_path.glob("fbclip-model-*"))


def test_json_is_refused_before_weights_are_fetched(hub, model_files, tmp_path):
    config = json.loads(model_files["config.json"]) | {"attention_heads": 10**9}
    publish(hub, "eve/absurd", model_files | {"config.json": json.dumps(config).encode()})
    with pytest.raises(ValueError, match=r"^eve/absurd cannot be loaded: .*attention_heads is 1000000000; at most 64"):
        Models(allow_hub=True).load("eve/absurd")
    assert hub.count("model.safetensors") == 0
    assert not list(tmp_path.glob("fbclip-model-*"))


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("TRIAL_SECONDS", 0.05, "it takes more than 0.05 seconds to load"),
        ("MAX_MEMORY", 300_000_000, "GB of memory, or is damaged"),
    ],
)
def test_time_and_memory_are_limited(hub, model_files, monkeypatch, setting, value, said):
    publish(hub, "eve/slow", model_files)
    limited(monkeypatch, setting, value)
    with pytest.raises(ValueError, match=said):
        Models(allow_hub=True).load("eve/slow")


def limited(monkeypatch, setting, value):
    """Sets a limit here, and in the process that is started."""
    monkeypatch.setattr(visitors, setting, value)
    program = LIMITED.format(setting=setting, value=value)
    real = visitors.subprocess.run

    def run(command, **settings):
        return real([command[0], "-c", program, *command[3:]], **settings)

    monkeypatch.setattr(visitors.subprocess, "run", run)


def test_nobody_waits_while_a_visitors_model_is_loaded(monkeypatch):
    known = Models(allow_hub=True)
    known.load_first()
    found = []

    def load_visitors(_):
        found.append(known.get(BUNDLED))
        with pytest.raises(ValueError, match="Another model from the Hub is being loaded"):
            known.load("bob/other")
        return known.get(BUNDLED)

    monkeypatch.setattr("modeling_fbclip.demo.models.load_visitors", load_visitors)
    start = time.monotonic()
    known.load("ada/parts")
    assert len(found) == 1
    assert time.monotonic() - start < 5


def test_a_model_of_too_many_bytes_is_not_fetched(monkeypatch, tmp_path):
    files = [
        SimpleNamespace(rfilename=name, size=visitors.MAX_HUB_BYTES + 1) for name in ("model.safetensors", "x.h5")
    ]
    monkeypatch.setattr(visitors.HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=files))
    monkeypatch.setattr(visitors, "snapshot_download", None)
    with pytest.raises(ValueError, match=r"eve/large has 2\.0 GB; at most 2 GB fit here"):
        visitors._download("eve/large", None, tmp_path)


def test_a_folder_on_the_server_is_not_named(tmp_path):
    error = OSError(f"Error in {tmp_path}/model/config.json and {tmp_path}.")
    assert visitors._without_paths(error, str(tmp_path)) == "Error in config.json and its folder."
