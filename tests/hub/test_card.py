"""The card: its metadata, and the numbers of the files that training and evaluation wrote."""

import json
import shutil
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from modeling_fbclip.hub import Terms, render_card, stage_model
from modeling_fbclip.hub.__main__ import PROJECT_CARD
from modeling_fbclip.hub.card import NEEDED
from modeling_fbclip.hub.evaluation_report import EVALUATION, read_report
from PIL import Image

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.data.registry import KNOWN_DATASETS
from modeling_fbclip.detection.loading import BUNDLED, load_bundled

SETS = {
    "machine": "some machine",
    "command": "make benchmark-tiny",
    "sets": [
        {
            "name": "Unseen parts",
            "domain": "industrial",
            "images": 12,
            "rows": [
                {"kind": "all", "method": "contrast filter", "pixel_auroc": 0.7111, "image_auroc": None},
                {"kind": "all", "method": "FB-CLIP (bundled), score x", "pixel_auroc": 0.1, "image_auroc": 0.1},
                {"kind": "all", "method": "FB-CLIP (bundled)", "pixel_auroc": 0.8346, "image_auroc": 0.5},
                {"kind": "scratch", "method": "contrast filter", "pixel_auroc": 0.9333, "image_auroc": 0.1},
            ],
        },
        {"name": "No masks", "rows": [{"method": "FB-CLIP (bundled)", "image_auroc": 0.25}]},
    ],
}
VISA = KNOWN_DATASETS["visa"]
REPORT = {
    "mean": {"image_auroc": 0.6125, "pixel_aupro": None},
    "categories": {name: {"image_auroc": 0.6125, "pixel_aupro": None} for name in VISA.categories},
    "counts": {name: {"images": 10} for name in VISA.categories},
    "training_overlap": {"images": 3, "of": 120},
    "settings": {"size": [518, 518], "smoothing_sigma": 4.0},
    "versions": {},
}
RECORD = {
    "arguments": {"epochs": 3, "learning_rate": 5e-05, "adam_betas": [0.5, 0.999]},
    "data": {
        "hub_id": None,
        "fingerprint": "f",
        "images": 7,
        "normal": 4,
        "anomalous": 3,
        "masks": 2,
        "categories": ["nut", "screw"],
    },
    "result": {"steps": 42, "checkpoint": "step-000000042", "epoch": 3},
    "environment": {"python": "3.11.7", "packages": {"torch": "2.13.0"}},
    "image_digests": ["0123456789abcdef"],
}


@pytest.fixture
def folder(model_dir, tmp_path) -> Path:
    return shutil.copytree(model_dir, tmp_path / "model")


def metadata(card: str) -> dict:
    return ModelCard(card).data.to_dict()


def test_the_card_of_the_project_is_the_card_of_a_push(tmp_path) -> None:
    stage_model(BUNDLED, tmp_path / "staged", "owner/name")
    staged = (tmp_path / "staged" / "README.md").read_text(encoding="utf-8")
    assert "](results.jpg)" in staged
    assert Image.open(tmp_path / "staged" / "results.jpg").size == (656, 352)
    project = PROJECT_CARD.read_text(encoding="utf-8")
    assert (PROJECT_CARD.parent / "demo/heatmaps.jpg").is_file()
    assert project.replace("](demo/heatmaps.jpg)", "](results.jpg)") == staged, "stale: run `make card`"


def test_the_card_of_the_bundled_model_describes_it() -> None:
    card, recipe = render_card(BUNDLED, "owner/name"), json.loads((BUNDLED / "recipe.json").read_text())
    model, processor = load_bundled()
    assert "A demonstration and a starting point for fine-tuning, not for real inspection." in card
    assert recipe["data"] in card
    assert recipe["teacher"] in card
    assert f"| {sum(parameter.numel() for parameter in model.parameters()):,}" in card.replace("parameters | ", "| ")
    assert f"image {processor.threshold:.4g}, pixel {processor.pixel_threshold:.4g}" in card
    assert f"| settings, seed | {recipe['settings']['seed']} |" in card
    for line in ("arXiv:2603.19608", "@inproceedings{hu2026fbclip,", "author    = {Hu, Ming and", "{35659-35669}"):
        assert line in card
    assert "(https://github.com/Xi-Mu-Yu/FB-CLIP)" in card
    data = metadata(card)
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "transformers"
    assert "pipeline_tag" not in data  # the Hub has no such task, and would promise another one
    assert "anomaly-detection" in data["tags"]
    assert "base_model" not in data
    assert "zero-shot" in data["tags"]
    for requirement in requires("modeling-fbclip"):
        name = requirement.partition(">")[0].partition("<")[0]
        assert (f"`{requirement}`" in card) == (name in NEEDED and ";" not in requirement)
    assert "size: 518 (height and width in pixels at which maps and masks are compared)" in card


@pytest.mark.parametrize(("score", "told"), [("map_max", True), ("cls", False)])
def test_the_cost_of_parts_is_explained_if_there_is_one(folder: Path, score: str, told: bool) -> None:
    FBCLIPProcessor.from_pretrained(folder, score=score).save_pretrained(folder)
    (folder / EVALUATION).write_text(json.dumps(SETS))
    assert "better image AUROC without one of its parts" not in render_card(folder, "owner/name")
    costly = SETS["sets"][0] | {"better_in_image_AUROC_than_the_whole": "without suppression (by 3.0)"}
    (folder / EVALUATION).write_text(json.dumps(SETS | {"sets": [costly]}))
    assert ("better image AUROC without one of its parts" in render_card(folder, "owner/name")) == told


def test_the_card_names_the_clip_of_the_model(folder: Path) -> None:
    clip_id = "openai/some-clip"
    config = json.loads((folder / "config.json").read_text())
    for includes_clip, relation in ((True, "finetune"), (False, "adapter")):
        changed = config | {"clip_name_or_path": clip_id, "includes_clip": includes_clip}
        (folder / "config.json").write_text(json.dumps(changed))
        card = render_card(folder, "ada/parts")
        assert metadata(card)["base_model"] == clip_id
        assert metadata(card)["base_model_relation"] == relation
        assert ("not in this repository: fetched from" in card) is not includes_clip
    assert 'AutoModel.from_pretrained("ada/parts", trust_remote_code=True' in card
    assert "not for real inspection" in card


def test_sets_of_an_evaluation_become_tables_and_metadata(folder: Path) -> None:
    (folder / "evaluation.json").write_text(json.dumps(SETS))
    card = render_card(folder, "ada/parts")
    for line in (
        "### Unseen parts",
        "- domain: industrial",
        "| method | pixel AUROC | image AUROC |",
        "| contrast filter | 71.1 | n/a |",
        "| FB-CLIP (bundled) | 83.5 | 50.0 |",
        "- machine: some machine",
        "- command: make benchmark-tiny",
        "| kind | method | pixel AUROC | image AUROC |",
        "| scratch | contrast filter | 93.3 | 10.0 |",
        "### No masks",
        "| FB-CLIP (bundled) | 25.0 |",
    ):
        assert f"\n{line}\n" in card, line
    (index,) = yaml.safe_load(card.split("---")[1])["model-index"]
    assert index["name"] == "parts"
    found = {
        result["dataset"]["name"]: {metric["type"]: metric["value"] for metric in result["metrics"]}
        for result in index["results"]
    }
    assert found == {"Unseen parts": {"pixel_auroc": 83.5, "image_auroc": 50.0}, "No masks": {"image_auroc": 25.0}}


def test_a_report_of_fbclip_evaluate_is_shown_with_its_warning(folder: Path) -> None:
    (folder / "evaluation.json").write_text(json.dumps(REPORT))
    card = render_card(folder, "ada/parts")
    assert "\n### VisA\n" in card
    assert "- **not zero-shot**: trained on 3 of these 120 images" in card
    assert "- size: 518, 518" in card
    assert "| candle | 10 | 61.3 | n/a |" in card or "| candle | 10 | 61.2 | n/a |" in card
    assert "| mean | 120 | 61." in card


def test_a_report_may_lie_elsewhere(folder: Path, tmp_path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(SETS))
    stage_model(folder, tmp_path / "staged", "ada/parts", evaluation=tmp_path / "report.json")
    assert json.loads((tmp_path / "staged" / EVALUATION).read_text()) == SETS
    assert "\n### Unseen parts\n" in (tmp_path / "staged" / "README.md").read_text()


def test_a_benchmark_of_the_hub_gets_its_own_form_too(folder: Path, tmp_path) -> None:
    first, second = SETS["sets"]
    known = first | {"dataset_id": "somebody/unseen-parts", "task_id": "default"}
    (tmp_path / "report.json").write_text(json.dumps({"sets": [known, second]}))
    stage_model(folder, tmp_path / "staged", "ada/parts", evaluation=tmp_path / "report.json")
    (entry,) = yaml.safe_load((tmp_path / "staged" / ".eval_results" / "fbclip.yaml").read_text())
    assert entry["dataset"] == {"id": "somebody/unseen-parts", "task_id": "default"}
    assert (entry["value"], entry["notes"]) == (83.5, "pixel AUROC, percent")


def test_a_record_of_another_make_is_shown_as_far_as_it_is_known(folder: Path) -> None:
    (folder / "training_record.json").write_text(json.dumps({"arguments": "own | script", "data": 3}))
    assert "| arguments | own \\| script |" in render_card(folder, "ada/parts")


def test_an_unknown_overlap_is_said(folder: Path) -> None:
    report = REPORT | {"training_overlap": {"unknown": "ada/parts: cannot be looked up"}}
    (folder / "evaluation.json").write_text(json.dumps(report))
    expected = "- whether it was trained on these images is unknown: ada/parts: cannot be looked up"
    assert expected in render_card(folder, "ada/parts")


def test_odd_values_stay_inside_their_cells(folder: Path) -> None:
    arguments = {"output": "own | folder", "resume": None}
    (folder / "training_record.json").write_text(json.dumps(RECORD | {"arguments": arguments}))
    (folder / "evaluation.json").write_text(json.dumps({"sets": []}))
    card = render_card(folder, "ada/parts")
    assert "| output | own \\| folder |" in card
    assert "| resume | n/a |" in card
    assert "There is no report of an evaluation here." in card


@pytest.mark.parametrize(
    ("data", "datasets", "said"),
    [
        (
            {"hub_id": "ada/parts-data"},
            ["ada/parts-data"],
            "images of [ada/parts-data](https://huggingface.co/datasets/ada",
        ),
        ({"hub_id": None, "categories": list(VISA.categories)}, None, "on 7 images of VisA:"),
        ({"hub_id": None}, None, "on 7 images:"),
        ({"hub_id": "../secret/data"}, None, "on 7 images:"),
        ({"hub_id": 3}, None, "on 7 images:"),
    ],
)
def test_the_training_data_are_named(folder: Path, data, datasets, said) -> None:
    (folder / "training_record.json").write_text(json.dumps(RECORD | {"data": RECORD["data"] | data}))
    card = render_card(folder, "ada/parts")
    assert said in card
    assert metadata(card).get("datasets") == datasets


def test_a_training_record_is_shown_without_digests_of_images(folder: Path) -> None:
    (folder / "training_record.json").write_text(json.dumps(RECORD))
    card = render_card(folder, "ada/parts")
    assert "on 7 images:\n4 normal, 3 anomalous, 2 with a mask, of nut, screw." in card
    for row in ("| epochs | 3 |", "| learning rate | 5e-05 |", "| adam betas | 0.5, 0.999 |", "| steps | 42 |"):
        assert row in card
    assert "0123456789abcdef" not in card
    assert "There is no report of an evaluation here." in card


@pytest.mark.parametrize(
    ("names", "title", "fact"),
    [
        (("01", "02", "03"), "own data", None),
        ([f"Class{number}" for number in range(1, 11)], "own data", None),
        (VISA.categories[:8], "VisA", "without: 4 of its 12 categories"),
        ((*VISA.categories, "own"), "own data", None),
    ],
)
def test_a_report_names_a_benchmark_only_if_it_is_certain(tmp_path, names, title, fact):
    metrics = {"image_auroc": 0.5, "pixel_aupro": None}
    counts = {name: {"images": 10} for name in names}
    report = REPORT | {"categories": dict.fromkeys(names, metrics), "counts": counts}
    (tmp_path / EVALUATION).write_text(json.dumps(report))
    (found,) = read_report(tmp_path / EVALUATION).sets
    assert found.name == title
    assert [line for line in found.facts if line.startswith("without")] == [fact] * (fact is not None)
    assert any(line.startswith("licence") for line in found.facts) is (title == "VisA")


TUNED = RECORD | {
    "arguments": {"model": "ada/base", "seed": 3},
    "result": {"threshold": 0.5, "pixel_threshold": 0.5},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Its thresholds were **not** set again after the training"),
        ({"result": {"threshold": 0.2, "pixel_threshold": 0.5}}, "Its thresholds were set again after the training."),
        ({"result": {}}, "Whether its thresholds were set again after the training is not recorded."),
    ],
)
def test_a_fine_tuned_model_says_its_base_and_its_thresholds_and_is_not_zero_shot(folder: Path, changes, said) -> None:
    (folder / "training_record.json").write_text(json.dumps(TUNED | changes))
    (folder / "evaluation.json").write_text(json.dumps(REPORT))
    card = render_card(folder, "ada/parts")
    assert "from [ada/base](https://huggingface.co/ada/base)" in card
    assert said in card
    data = metadata(card)
    assert (data["base_model"], data["base_model_relation"]) == ("ada/base", "finetune")
    assert "zero-shot" not in data["tags"]
    assert "To try and to teach anomaly detection" in card
    metrics = data["model-index"][0]["results"][0]["metrics"]
    assert metrics[0]["args"] == {"mean": "macro", "seed": 3}
    read = ModelCard(card).data.eval_results  # the form that the library reads
    assert [(result.metric_type, result.metric_value) for result in read] == [("image_auroc", 61.3)]
    assert read[0].metric_args == {"mean": "macro", "seed": 3}


def test_seed_and_mean_are_in_the_leaderboards_form(folder: Path, tmp_path) -> None:
    (folder / "training_record.json").write_text(json.dumps(TUNED))
    (folder / "evaluation.json").write_text(json.dumps(REPORT | {"dataset_id": "ada/parts", "task_id": "default"}))
    stage_model(folder, tmp_path / "staged", "ada/parts")
    entries = yaml.safe_load((tmp_path / "staged" / ".eval_results" / "fbclip.yaml").read_text())
    (entry,) = parse_eval_result_entries(entries)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("ada/parts", "default", 61.3)
    assert entry.notes == "image AUROC, percent, mean macro, seed 3"


def test_the_owner_names_licence_and_base(folder: Path) -> None:
    (folder / "training_record.json").write_text(json.dumps(TUNED))
    card = render_card(folder, "ada/parts", Terms("cc-by-nc-sa-4.0", "ada/other"))
    assert (metadata(card)["license"], metadata(card)["base_model"]) == ("cc-by-nc-sa-4.0", "ada/other")
    assert "Weights: cc-by-nc-sa-4.0." in card


def test_without_the_record_neither_file_nor_card_tells_of_the_images(folder: Path, tmp_path) -> None:
    (folder / "training_record.json").write_text(json.dumps(TUNED))
    (folder / "calibration_record.json").write_text(json.dumps({"image_digests": ["abc"]}))
    stage_model(folder, tmp_path / "staged", "ada/parts", terms=Terms(with_record=False))
    assert not list((tmp_path / "staged").glob("*_record.json"))
    card = (tmp_path / "staged" / "README.md").read_text()
    assert "Its record is not published." in card
    assert "zero-shot" not in metadata(card)["tags"]
    for told in ("nut", "screw", "7 images", "0123456789abcdef"):
        assert told not in card.replace("minutes", "")
