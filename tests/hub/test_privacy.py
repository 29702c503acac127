"""What is published of the owner's machine and images."""

import json

import pytest
from modeling_fbclip.hub import Terms, stage_model
from modeling_fbclip.hub.privacy import told_of_data, without_folders

from modeling_fbclip.common.messages import ArgumentError

from .test_card import RECORD

LEFT_OUT = "--without-record leaves it out"


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("/home/ada lovelace/secret project/model", "model"),
        ("~/secret/model", "model"),
        ("../secret/model", "model"),
        ("C:\\Users\\Ada\\model", "model"),
        ("fbclip evaluate /home/ada/parts --output ../x/report.json", "fbclip evaluate parts --output report.json"),
        ("--output=/home/ada/model", "--output=model"),
        ("see https://example.org/a/b and ada/parts", "see https://example.org/a/b and ada/parts"),
        ("1 / 2", "1 / 2"),
        ({"a": ["/home/ada/x", 3, None]}, {"a": ["x", 3, None]}),
    ],
)
def test_paths_are_the_names_of_their_files(value, left) -> None:
    assert without_folders(value) == left


def test_no_record_that_is_staged_has_a_folder_of_the_machine(model_dir, tmp_path) -> None:
    record = RECORD | {"arguments": {"output_dir": "/home/ada/secret/model", "resume": "../ada/run"}}
    folder = tmp_path / "model"
    folder.mkdir()
    for file in model_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "training_record.json").write_text(json.dumps(record))
    stage_model(folder, tmp_path / "staged", "ada/parts")
    for path in (tmp_path / "staged").rglob("*.*"):
        if path.suffix in (".json", ".md", ".yaml"):
            assert "ada/secret" not in path.read_text(), path
            assert "/ada/" not in path.read_text(), path
    assert "| output dir | model |" in (tmp_path / "staged" / "README.md").read_text()


def test_what_the_records_tell_of_images_is_said(tmp_path) -> None:
    assert told_of_data(tmp_path) == []
    (tmp_path / "training_record.json").write_text(json.dumps(RECORD))
    (tmp_path / "calibration_record.json").write_text(json.dumps({"image_digests": ["a", "b"]}))
    (tmp_path / "evaluation.json").write_text(json.dumps({"categories": {"nut": {}, "bolt": {}}}))
    assert told_of_data(tmp_path) == [
        "training_record.json tells digests of 1 image and the category names nut, screw; " + LEFT_OUT,
        "calibration_record.json tells digests of 2 images; " + LEFT_OUT,
        "evaluation.json tells the category names nut, bolt; move it elsewhere to leave it out",
    ]


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (Terms(license="My own!"), "'My own!' is no identifier of a licence"),
        (Terms(base_model="base"), "'base' is no Hub id"),
        (Terms(hardware="abacus"), "'abacus' is no hardware of a Space; take cpu-basic"),
    ],
)
def test_terms_that_cannot_be_are_refused(terms, said, model_dir, tmp_path) -> None:
    with pytest.raises(ArgumentError, match=said):
        stage_model(model_dir, tmp_path / "staged", "ada/parts", terms=terms)
    assert not (tmp_path / "staged").exists()
