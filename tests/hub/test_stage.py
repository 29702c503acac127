"""The staged folder: all files that a Hub user needs, the same weights, and nothing private."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
import torch
from modeling_fbclip.hub import stage_model
from modeling_fbclip.hub.stage import require_publishable
from packaging.requirements import Requirement
from safetensors.torch import load_file, save_file

from conftest import TINY_OVERRIDES
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.detection.loading import BUNDLED
from modeling_fbclip.pretrained_fbclip import CUSTOM_PIPELINES
from modeling_fbclip.reference_view_fbclip import ViewReferences

from .conftest import TOKEN
from .test_card import RECORD

PACKAGE = BUNDLED.parent


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("staged") / "model"
    stage_model(BUNDLED, target, "owner/name")
    return target


def test_publishing_needs_no_extra_of_the_package():
    absent = "import sys; sys.modules.update(dict.fromkeys('accelerate datasets gradio'.split())); "
    done = subprocess.run([sys.executable, "-c", absent + "import modeling_fbclip.hub.__main__"], check=False)
    assert done.returncode == 0


@pytest.fixture
def copied(model_dir, tmp_path) -> Path:
    return shutil.copytree(model_dir, tmp_path / "copied")


def test_the_folder_has_all_files_that_a_hub_user_needs(staged: Path) -> None:
    names = {path.relative_to(staged).as_posix() for path in staged.rglob("*")}
    code = {path.name for path in PACKAGE.glob("*_fbclip.py")}
    records = {name for name in ("recipe.json", "evaluation.json") if (BUNDLED / name).is_file()}
    files = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert names == files | code | records | {"LICENSE", "README.md", "handler.py", "requirements.txt", "results.jpg"}
    assert (staged / "LICENSE").read_text() == (PACKAGE.parent / "LICENSE").read_text()
    for name in code:
        assert (staged / name).read_text() == (PACKAGE / name).read_text()


def test_the_configuration_names_the_code(staged: Path) -> None:
    config = json.loads((staged / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "configuration_fbclip.FBCLIPConfig",
        "AutoModel": "modeling_fbclip.FBCLIPModel",
    }
    assert config["custom_pipelines"] == CUSTOM_PIPELINES
    processor = json.loads((staged / "processor_config.json").read_text())
    assert processor["auto_map"] == {"AutoProcessor": "processing_fbclip.FBCLIPProcessor"}
    needed = [Requirement(line) for line in (staged / "requirements.txt").read_text().splitlines()]
    assert [one.name for one in needed] == ["torch", "transformers", "safetensors", "pillow", "numpy", "scipy"]
    assert set(needed) <= {Requirement(line) for line in requires("modeling-fbclip")}


def test_the_weights_are_bit_identical(staged: Path) -> None:
    before, after = load_file(BUNDLED / "model.safetensors"), load_file(staged / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and before[name].equal(after[name]) for name in before)


def test_a_folder_of_this_machine_is_not_published(tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    model.save_pretrained(tmp_path / "complete")
    FBCLIPProcessor.from_config(model.config).save_pretrained(tmp_path / "complete")
    stage_model(tmp_path / "complete", tmp_path / "staged", "owner/name")
    for path in (tmp_path / "staged").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()

    model.save_pretrained(tmp_path / "parts", include_clip=False)
    FBCLIPProcessor.from_config(model.config).save_pretrained(tmp_path / "parts")
    with pytest.raises(
        ValueError, match="their CLIP is a folder of this machine, not of the Hub; save it with `include_clip=True`"
    ):
        stage_model(tmp_path / "parts", tmp_path / "staged-parts", "owner/name")
    assert not (tmp_path / "staged-parts").exists()


@pytest.mark.parametrize("name", ["../secret-project/clip", "clip", "here/clip", "/home/ada/clip", "a/b/c"])
def test_a_clip_that_is_not_on_the_hub_is_not_named(copied, tmp_path, monkeypatch, name) -> None:
    (tmp_path / "here" / "clip").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = copied / "config.json"
    config = json.loads(path.read_text()) | {"clip_name_or_path": name, "clip_revision": "mine"}
    path.write_text(json.dumps(config))
    stage_model(copied, tmp_path / "staged", "owner/name")
    staged = json.loads((tmp_path / "staged" / "config.json").read_text())
    assert staged.get("clip_name_or_path") is staged.get("clip_revision") is None
    card = (tmp_path / "staged" / "README.md").read_text()
    assert "base_model" not in card
    assert f"({name})" not in card
    assert f"[{name}]" not in card

    path.write_text(json.dumps(config | {"includes_clip": False}))
    shutil.copyfile(copied / "model.safetensors", tmp_path / "all.safetensors")
    parts = {name: w for name, w in load_file(tmp_path / "all.safetensors").items() if not name.startswith("clip.")}
    save_file(parts, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="not of the Hub"):
        stage_model(copied, tmp_path / "staged-parts", "owner/name")


def test_settings_of_loading_the_tokenizer_are_not_published(staged: Path) -> None:
    tokenizer = json.loads((staged / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "name_or_path"} & tokenizer.keys()


def test_parts_without_clip_are_staged_without_fetching_it(parts_dir: Path, tmp_path) -> None:
    stage_model(parts_dir, tmp_path / "staged", "owner/name")
    before, after = load_file(parts_dir / "model.safetensors"), load_file(tmp_path / "staged" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    assert not any(name.startswith("clip.") for name in after)
    config, staged = (json.loads((f / "config.json").read_text()) for f in (parts_dir, tmp_path / "staged"))
    assert staged["dtype"] == config["dtype"] == "float32"
    assert staged["clip_name_or_path"] == config["clip_name_or_path"]
    assert not staged["includes_clip"]

    shutil.copytree(parts_dir, tmp_path / "cut")
    save_file({"scale_weights": before["scale_weights"]}, tmp_path / "cut" / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match="cannot be loaded: weights are missing, unknown or of another shape: attention"
    ):
        stage_model(tmp_path / "cut", tmp_path / "staged-cut", "owner/name")


def test_other_files_of_the_folder_are_not_staged(copied: Path, tmp_path) -> None:
    for name in (".env", "log.jsonl", "notes.txt", "optimizer.pt"):
        (copied / name).write_text(TOKEN)
    stage_model(copied, tmp_path / "staged", "owner/name")
    for path in (tmp_path / "staged").rglob("*"):
        assert TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", None, "holds no config.json"),
        ("config.json", "{", "cannot be loaded: .*config.json. is not a valid JSON file"),
        ("config.json", '{"model_type": "clip"}', "holds a 'clip' model, not an FB-CLIP"),
        ("model.safetensors", None, "holds no weights as safetensors"),
        ("model.safetensors", "{", "cannot be loaded"),
        ("processor_config.json", None, "cannot be loaded"),
        ("training_record.json", "[", "training_record.json: is not readable as JSON"),
        ("training_record.json", "[]", "training_record.json: holds no JSON object"),
        ("training_record.json", json.dumps(RECORD | {"result": {"log": TOKEN}}), "seems to hold a token or a key"),
        ("evaluation.json", "[", "evaluation.json: is not readable as JSON"),
        ("evaluation.json", "[1]", "evaluation.json: holds no JSON object"),
        ("evaluation.json", '{"mean": NaN}', "evaluation.json: is not readable as JSON .NaN is no number of JSON"),
        ("evaluation.json", '{"mean": {}}', "no report of `fbclip evaluate`"),
        ("evaluation.json", "{}", "no report of `fbclip evaluate`"),
        ("evaluation.json", '{"sets": [{"name": "x"}]}', "no report of `fbclip evaluate`"),
    ],
)
def test_an_unusable_file_is_named_and_nothing_is_staged(copied, tmp_path, file, content, said) -> None:
    if content is None:
        (copied / file).unlink()
        (copied / "pytorch_model.bin").touch()  # does not replace it
    else:
        (copied / file).write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        stage_model(copied, tmp_path / "staged", "owner/name")
    assert TOKEN not in str(caught.value)
    assert not (tmp_path / "staged").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (".env", "", "hidden files"),
        ("inner/.netrc", "", "hidden files"),
        ("weights.pt", "", "may run code"),
        ("inner/state.pkl", "", "may run code"),
        ("app.py", "-----BEGIN RSA PRIVATE KEY-----", "a token or a key"),
        ("app.py", "login('my own token')", "a token or a key"),
    ],
)
def test_a_folder_with_a_private_file_is_refused(tmp_path: Path, name, content, said, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my own token")
    (tmp_path / "README.md").touch()
    require_publishable(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name}: .*{said}"):
        require_publishable(tmp_path)


def test_exports_are_published_beside_the_weights(copied: Path, tmp_path: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    graphs = {"onnx": ("model.onnx",), "openvino": ("openvino_model.xml", "openvino_model.bin")}
    for runtime, names in graphs.items():
        (copied / runtime).mkdir()
        (copied / runtime / "config.json").write_text(json.dumps(config | {"runtime": runtime}))
        for name in (*names, "inference.py", "private.txt"):
            (copied / runtime / name).write_text(name)
    stage_model(copied, tmp_path / "staged", "owner/name")
    for runtime, names in graphs.items():
        staged = {path.name for path in (tmp_path / "staged" / runtime).iterdir()}
        assert staged == {"config.json", "inference.py", *names}
    views = [ViewReferences.of(torch.ones(1, 1, 2, 2, 3).half(), torch.zeros(1, 5), False, 1.0, None)]
    FBCLIPReferences(views, ["good/1.png"], {}, False, 1.0).save_pretrained(copied / "onnx")
    with pytest.raises(ValueError, match="which compares with references"):
        stage_model(copied, tmp_path / "again", "owner/name")
    shutil.copyfile(copied / "onnx" / "references.json", copied / "references.json")
    shutil.copyfile(copied / "onnx" / "references.safetensors", copied / "references.safetensors")
    stage_model(copied, tmp_path / "with-references", "owner/name", with_references=True)
    assert FBCLIPReferences.from_pretrained(tmp_path / "with-references" / "onnx").names == ["1.png"]
    (copied / "onnx" / "config.json").write_text(json.dumps(config | {"runtime": "openvino"}))
    with pytest.raises(ValueError, match="holds no export for onnx"):
        stage_model(copied, tmp_path / "again", "owner/name")
    with pytest.raises(ValueError, match="is an export; publish its model"):
        stage_model(copied / "openvino", tmp_path / "alone", "owner/name")
    assert [path.name for path in tmp_path.iterdir() if path.name in ("again", "alone")] == []
