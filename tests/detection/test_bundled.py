"""The model that ships: small enough, loads offline, and marks what anyone would mark."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from modeling_fbclip.detection.loading import BUNDLED, load_bundled
from recipe import surfaces
from recipe.defects import PAINTED
from recipe.product import DATA
from recipe.settings import Settings

SIDE = 256
MOST_BYTES = 10_000_000
MARGIN = 0.15  # of the map, between the scratch and the rest
KINDS_ASKED = ("scratch", "stain")


@pytest.fixture(scope="module")
def bundled():
    return load_bundled()


def plain_texture(seed):
    """A grey surface with fine horizontal grain."""
    grain = np.random.default_rng(seed).normal(size=(SIDE, SIDE + 24))
    brushed = np.lib.stride_tricks.sliding_window_view(grain, 25, axis=1).mean(-1)
    return Image.fromarray((135 + 40 * brushed).clip(0, 255).astype(np.uint8)).convert("RGB")


def with_scratch(image, tone):
    """The image with a slanted scratch four pixels wide, and where it is."""
    line = Image.new("L", image.size)
    ImageDraw.Draw(line).line((70, 190, 190, 80), 255, 4)
    scratched = image.copy()
    scratched.paste((tone, tone, tone), mask=line)
    return scratched, np.asarray(line) > 0


def anomaly_map(bundled, image):
    model, processor = bundled
    with torch.no_grad():
        outputs = model(**processor(images=image))
    return processor.post_process_anomaly_detection(outputs, target_sizes=[(SIDE, SIDE)])[0]["anomaly_map"].numpy()


def drawn_with(kind, seed):
    """A surface with a defect of this kind, as the recipe draws them, and the defect's pixels."""
    rng = np.random.default_rng(seed)
    surface = (surfaces.cast_metal, surfaces.plastic, surfaces.leather, surfaces.wood)[seed % 4](rng, SIDE).image()
    painted, weight = PAINTED[kind][0](rng, surface, (SIDE / 2, SIDE / 2))
    return Image.fromarray((255 * painted.clip(0, 1)).astype(np.uint8)), weight > 0.3


def test_weights_fit_in_ten_megabytes():
    assert (BUNDLED / "model.safetensors").stat().st_size <= MOST_BYTES


def test_its_record_matches_the_recipe():
    record = json.loads((BUNDLED / "recipe.json").read_text())
    assert record["settings"] == json.loads(json.dumps(Settings().record()))
    assert record["data"] == DATA


def test_loads_in_float32_for_inference(bundled):
    model, processor = bundled
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    assert processor.image_size == (model.config.image_size, model.config.image_size)


def test_prompts_of_the_tokenizer_are_those_of_the_config(bundled):
    model, processor = bundled
    prompts = processor.encode_prompts("object without defect.", "object with defect.")
    assert prompts.tolist() == model.config.prompt_input_ids
    end = processor.tokenizer.eos_token_id
    assert prompts.max() == end == model.config.clip_config.text_config.vocab_size - 1


@pytest.mark.parametrize("tone", [40, 235], ids=["dark", "bright"])
def test_scratch_on_plain_texture_is_marked(bundled, tone):
    clean = plain_texture(seed=0)
    scratched, mask = with_scratch(clean, tone)
    found, before = anomaly_map(bundled, scratched), anomaly_map(bundled, clean)
    on_scratch, elsewhere = found[mask].mean(), found[~mask].mean()
    assert on_scratch > elsewhere + MARGIN
    assert on_scratch > before[mask].mean() + MARGIN
    assert found.max() > before.max()


def test_prompts_that_name_the_defect_favour_it(bundled):
    model, processor = bundled
    prompts = [processor.encode_prompts("object without defect.", f"object with {kind}.") for kind in KINDS_ASKED]
    preference = {}
    for kind in KINDS_ASKED:
        differences = []
        for seed in range(12):
            image, mask = drawn_with(kind, seed)
            pixel_values = processor(images=image)["pixel_values"]
            with torch.no_grad():
                maps = [model(pixel_values, prompt_input_ids=ids).anomaly_maps for ids in prompts]
            small = np.asarray(Image.fromarray(mask).resize(maps[0].shape[:0:-1], Image.Resampling.NEAREST))
            differences.append((maps[0] - maps[1])[0].numpy()[small].mean() if small.any() else 0.0)
        preference[kind] = np.mean(differences)
    assert preference["scratch"] > preference["stain"] + 0.01
