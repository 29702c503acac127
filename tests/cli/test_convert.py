"""`fbclip convert`: the released checkpoint becomes a folder that loads, or nothing is left behind."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor

COMPACT = Path(__file__).parents[1] / "golden" / "compact"
CHECKPOINT, CLIP = COMPACT / "official_checkpoint.pth", COMPACT / "clip"
FITTING = ["--feature-layers", "1,2,3,4,5", "--image-size", "64"]


@pytest.fixture
def convert(fbclip, tmp_path, monkeypatch):
    """Runs `fbclip convert` on the compact checkpoint, in an empty working folder."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return lambda *arguments, checkpoint=CHECKPOINT, clip=CLIP: fbclip(
        "convert", checkpoint, "--clip", clip, *arguments
    )


def test_the_saved_model_has_the_weights_of_the_checkpoint(convert, fbclip, save_photograph):
    outcome = convert("--output", "deep/converted", *FITTING)
    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err.startswith("saved to deep/converted")
    model = FBCLIPModel.from_pretrained("deep/converted")
    expected = FBCLIPModel.from_official_checkpoint(
        CHECKPOINT, clip=CLIP, feature_layers=[1, 2, 3, 4, 5], image_size=64
    )
    assert model.config.feature_layers == [1, 2, 3, 4, 5]
    assert model.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert FBCLIPProcessor.from_pretrained("deep/converted").image_size == (64, 64)
    assert sorted(path.name for path in Path("deep").iterdir()) == ["converted"]
    detected = fbclip("detect", save_photograph("photo.png"), "--model", "deep/converted", "--format", "json")
    assert 0 <= json.loads(detected.out)[0]["score"] <= 1


def test_prompts_from_a_file_reach_the_model(convert):
    prompts = [[1, *[3] * 12, 4, 2, *[0] * 62], [1, *[3] * 12, 5, 2, *[0] * 62]]
    Path("prompts.json").write_text(json.dumps(prompts))
    outcome = convert("--output", "converted", *FITTING, "--prompt-input-ids", "prompts.json")
    assert outcome.status == 0, outcome.err
    assert FBCLIPModel.from_pretrained("converted").config.prompt_input_ids == prompts


def test_clip_is_left_out_when_asked(convert):
    assert convert("--output", "whole", *FITTING).status == 0
    assert convert("--output", "parts", *FITTING, "--no-include-clip").status == 0
    whole, parts = (Path(name, "model.safetensors").stat().st_size for name in ("whole", "parts"))
    clip_size = (CLIP / "model.safetensors").stat().st_size
    assert whole - parts == pytest.approx(clip_size, rel=0.05)
    expected = FBCLIPModel.from_pretrained("whole").state_dict()
    for name, tensor in FBCLIPModel.from_pretrained("parts").state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_folder_that_is_not_empty_is_kept_unless_forced(convert):
    Path("converted").mkdir()
    Path("converted/config.json").write_text("mine")
    Path("converted/notes.txt").write_text("mine too")
    outcome = convert("--output", "converted", *FITTING)
    assert (outcome.status, outcome.out) == (2, "")
    assert "converted is not empty; choose another folder, or --force" in outcome.err
    assert Path("converted/config.json").read_text() == "mine"

    assert convert("--output", "converted", *FITTING, "--force").status == 0
    assert FBCLIPModel.from_pretrained("converted").config.image_size == 64
    assert Path("converted/notes.txt").read_text() == "mine too"
    assert [path.name for path in Path().iterdir()] == ["converted"]


def test_an_empty_folder_is_filled(convert):
    Path("converted").mkdir()
    assert convert("--output", "converted", *FITTING).status == 0
    assert FBCLIPModel.from_pretrained("converted").config.image_size == 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--feature-layers", "1,two"], "'1,two' must be numbers with commas between"),
        (["--feature-layers", "1,9", "--image-size", "64"], "`feature_layers` is [1, 9]"),
        ([*FITTING[:2], "--image-size", "63"], "such as 64"),
        ([*FITTING[:2], "--image-size", "0"], "--image-size"),
        ([*FITTING, "--prompt-input-ids", "broken.json"], "broken.json is no JSON"),
        ([*FITTING, "--prompt-input-ids", "object.json"], "prompt_input_ids"),
        ([*FITTING, "--prompt-input-ids", "missing.json"], "missing.json"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(convert, arguments, said):
    Path("broken.json").write_text("[[1,")
    Path("object.json").write_text('{"normal": 1}')
    outcome = convert("--output", "converted", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["broken.json", "object.json"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"checkpoint": "missing.pth"}, "missing.pth"),
        ({"checkpoint": CLIP / "config.json"}, "no checkpoint that can be read safely"),
        ({"clip": "typo"}, "typo: no such folder"),
        ({"clip": COMPACT}, "compact"),
    ],
)
def test_wrong_files_are_named(convert, files, said):
    outcome = convert("--output", "converted", *FITTING, **files)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_failure_while_saving_leaves_nothing(convert, monkeypatch):
    def fill_the_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FBCLIPProcessor, "save_pretrained", fill_the_disk)  # the model is written by then
    outcome = convert("--output", "converted", *FITTING)
    assert outcome.status == 2
    assert "No space left on device" in outcome.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "arguments", "trained_on"),
    [
        ("mvtec_epoch_1_model.pth", [], "mvtec-ad"),
        ("visa_epoch_2_model.pth", [], "visa"),
        ("renamed.pth", [], None),
        ("renamed.pth", ["--trained-on", "visa"], "visa"),
    ],
)
def test_the_file_and_what_it_was_trained_on_are_recorded(convert, name, arguments, trained_on):
    shutil.copy(CHECKPOINT, name)
    assert convert("--output", "converted", *FITTING, *arguments, checkpoint=name).status == 0
    digest = hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()
    record = json.loads(Path("converted", "conversion_record.json").read_text())
    assert record == {"file": name, "sha256": digest, "trained_on": trained_on}


def test_an_unknown_training_set_is_refused(convert):
    outcome = convert("--output", "converted", *FITTING, "--trained-on", "mvtek")
    assert outcome.status == 2
    assert "'mvtek' is none of mvtec-ad, visa" in " ".join(outcome.err.split())
    assert not Path("converted").exists()


def test_help_says_where_the_released_weights_are(fbclip):
    said = " ".join(fbclip("convert", "--help").out.split())
    for word in ("mvtec_epoch_1_model.pth", "visa_epoch_2_model.pth", "openai/clip-vit-large-patch14-336", "licence"):
        assert word in said
