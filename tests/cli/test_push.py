"""`fbclip push` without a Hub: dry runs, and mistakes that are found before any request."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from modeling_fbclip.demo import space

from modeling_fbclip.detection.loading import BUNDLED


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")


def test_a_dry_run_lists_the_files_of_model_and_space_with_sizes(fbclip) -> None:
    outcome = fbclip("push", "bundled", "owner/name", "--dry-run", "--stage", "staged")
    assert outcome.status == 0, outcome.err
    assert outcome.err == "staged to staged, nothing uploaded\n"
    assert [path.name for path in Path().iterdir()] == ["staged"]
    assert {path.name for path in Path("staged").iterdir()} == {"model", "space"}
    lines = [line.split() for line in outcome.out.splitlines() if line.strip()]
    files = [path for path in Path("staged").rglob("*") if path.is_file()]
    assert lines[0] == ["part", "file", "size"]
    assert lines[-1][:2] == [str(len(files)), "files"]
    assert len(lines) == len(files) + 3  # header, rule, files, total
    assert ["model", "README.md"] in [line[:2] for line in lines]
    assert ["space", "app.py"] in [line[:2] for line in lines]
    size = (BUNDLED / "model.safetensors").stat().st_size
    assert ["model", "model.safetensors", f"{size / 1e6:.1f}", "MB"] in lines
    assert "owner/name" in Path("staged/space/app.py").read_text()
    assert Path("staged/model/LICENSE").read_text() == Path("staged/space/LICENSE").read_text()
    assert 'Client("owner/space")' in Path("staged/space/README.md").read_text()


def test_a_dry_run_of_a_private_model_and_a_named_space(fbclip, model_folder) -> None:
    arguments = ("--space", "owner/demo", "--private", "--dry-run", "--stage", "staged")
    outcome = fbclip("push", model_folder, "owner/name", *arguments)
    assert outcome.status == 0, outcome.err
    assert 'Client("owner/demo")' in Path("staged/space/README.md").read_text()
    assert "owner/demo cannot read the private owner/name yet: add a token with read access" in outcome.err
    assert "as a secret named HF_TOKEN" in outcome.err


def test_what_is_told_of_the_training_data_is_said_before_and_may_be_left_out(fbclip, model_folder) -> None:
    record = {"data": {"categories": ["nut"]}, "image_digests": ["a", "b"]}
    (model_folder / "training_record.json").write_text(json.dumps(record))
    outcome = fbclip("push", model_folder, "owner/name", "--dry-run")
    first, second, _ = outcome.err.splitlines()
    assert first == (
        "training_record.json tells digests of 2 images and the category names nut; --without-record leaves it out"
    )
    assert second == "the weights get the licence apache-2.0; if their data forbid it, give another by --license"
    own = ("--without-record", "--license", "cc-by-nc-4.0", "--base-model", "ada/base", "--stage", "staged")
    outcome = fbclip("push", model_folder, "owner/name", "--dry-run", *own)
    assert outcome.err == "staged to staged, nothing uploaded\n"
    assert not Path("staged/model/training_record.json").exists()
    card = Path("staged/model/README.md").read_text()
    assert "license: cc-by-nc-4.0\n" in card
    assert "base_model: ada/base\n" in card


def test_the_list_as_json_and_csv_has_sizes_in_bytes(fbclip, model_folder) -> None:
    outcome = fbclip("push", model_folder, "owner/name", "--dry-run", "--format", "json", "--stage", "staged")
    report = json.loads(outcome.out)
    assert report["pushed"] == []
    for file in report["files"]:
        assert (Path("staged") / file["part"] / file["path"]).stat().st_size == file["size"]
    csv = fbclip("push", model_folder, "owner/name", "--dry-run", "--format", "csv").out.splitlines()
    assert csv[0] == "part,path,size"
    assert len(csv) == len(report["files"]) + 1
    assert [path.name for path in Path().iterdir()] == ["staged"]  # nothing is kept without --stage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing", "owner/name"), "missing: no such folder"),
        ((".", "owner/name"), "holds no config.json"),
        (("bundled", "name"), "not a valid Hub name; use the form owner/name"),
        (("bundled", "owner/name", "--space", "a b/c"), "a b/c: not a valid Hub name"),
        (("bundled", "owner/name", "--evaluation", "missing.json"), "missing.json"),
        (("bundled", "owner/name", "--evaluation", __file__), "--evaluation: "),
        (("bundled", "owner/name", "--stage", ".."), "--stage: .. is not empty"),
        (("bundled", "owner/name", "--stage", f"{__file__}/x"), "--stage: "),
        (
            ("bundled", "owner/name", "--space", "owner/demo", "--revision", "try"),
            "publish a revision without a Space",
        ),
        (("bundled", "owner/name", "--license", "My own"), "--license: 'My own' is no identifier"),
        (("bundled", "owner/name", "--base-model", "base"), "--base-model: 'base' is no Hub id"),
        (("bundled", "owner/name", "--hardware", "abacus"), "--hardware: 'abacus' is no hardware"),
        (("bundled",), "OWNER/NAME"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(fbclip, arguments, said) -> None:
    outcome = fbclip("push", *arguments, "--dry-run")
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_stage_may_be_the_working_folder(fbclip, model_folder) -> None:
    outcome = fbclip("push", model_folder, "owner/name", "--dry-run", "--stage", ".")
    assert outcome.status == 0, outcome.err
    assert {path.name for path in Path().iterdir()} == {"model", "space"}


def test_a_space_without_gradio_is_one_line_with_an_install_command(fbclip, model_folder, monkeypatch) -> None:
    def not_found(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(space, "version", not_found)
    for arguments in (("--dry-run",), ("--space", "owner/demo")):
        outcome = fbclip("push", model_folder, "owner/name", *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert "'gradio'" in outcome.err
        assert "pip install 'modeling-fbclip[demo]'" in outcome.err
        assert outcome.err.count("\n") == 1


def test_a_configuration_of_wrong_types_is_one_line(fbclip, model_folder) -> None:
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps(config | {"image_size": "x"}))
    outcome = fbclip("push", model_folder, "owner/name", "--dry-run")
    assert (outcome.status, outcome.out) == (2, "")
    assert "MODEL_DIR: " in outcome.err
    assert "image_size" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_missing_token_and_offline_mode_are_one_line(fbclip, model_folder, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    outcome = fbclip("push", model_folder, "owner/name", "--stage", "staged")
    assert outcome.status == 2
    assert "Invalid value: there is no token" in outcome.err
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    outcome = fbclip("push", model_folder, "owner/name")
    assert outcome.status == 2
    assert "HF_HUB_OFFLINE is set; unset it to publish" in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(Path().iterdir()) == []
