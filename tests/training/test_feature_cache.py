"""A run with cached tokens equals the run with pixels, and tokens of other models are never used."""

from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.training import FBCLIPTrainingArguments, caching, feature_cache, train
from modeling_fbclip.training.feature_cache import FeatureCache
from modeling_fbclip.training.log import read_log
from training.conftest import make_parts


@pytest.fixture
def computed(monkeypatch):
    """Counts the images that go through the vision tower."""
    counts = []

    def count(vision_model, pixel_values, layers):
        counts.append(len(pixel_values))
        return vision_layer_tokens(vision_model, pixel_values, layers)

    vision_layer_tokens = feature_cache.vision_layer_tokens
    monkeypatch.setattr(feature_cache, "vision_layer_tokens", count)
    return counts


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.01)])
def test_a_run_with_cached_tokens_equals_the_run_with_pixels(run, parts, tmp_path, dtype, tolerance):
    run(parts, "plain", epochs=2)
    run(parts, "cached", epochs=2, cache_features=tmp_path / "cache", cache_dtype=dtype)
    for plain, cached in zip(read_log(tmp_path / "plain"), read_log(tmp_path / "cached"), strict=True):
        assert cached["loss"] == pytest.approx(plain["loss"], abs=tolerance)


def test_images_of_another_shape_than_the_models_can_be_cached(parts, tmp_path):
    for name, cache in (("plain", None), ("cached", tmp_path / "cache")):
        model = make_tiny_model()
        processor = FBCLIPProcessor(image_size=(24, 40))
        args = FBCLIPTrainingArguments(tmp_path / name, epochs=1, cache_features=cache, cache_dtype="float32")
        train(model, processor, parts, args)
    for plain, cached in zip(read_log(tmp_path / "plain"), read_log(tmp_path / "cached"), strict=True):
        assert cached["loss"] == pytest.approx(plain["loss"], abs=1e-6)


def test_each_image_is_computed_once(run, parts, tmp_path, computed):
    run(parts, "first", epochs=3, cache_features=tmp_path / "cache")
    assert sum(computed) == 6
    run(parts, "second", epochs=1, cache_features=tmp_path / "cache", validation_fraction=0.34)
    assert sum(computed) == 6
    run(make_parts(tmp_path / "more", count=8), "third", epochs=1, cache_features=tmp_path / "cache")
    assert sum(computed) == 8  # the first six images are the same


def test_a_cut_off_file_is_computed_again(run, parts, tmp_path, computed):
    run(parts, "first", epochs=1, cache_features=tmp_path / "cache")
    file = next((tmp_path / "cache").glob("*/*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    run(parts, "second", epochs=1, cache_features=tmp_path / "cache")
    assert sum(computed) == 7
    assert file.read_bytes() == whole
    assert not list((tmp_path / "cache").glob("*/*.partial"))


def cache_of(folder, model, dtype=torch.bfloat16, image_size=32, precision="no"):
    processor = FBCLIPProcessor.from_config(model.config)
    processor = FBCLIPProcessor(processor.image_processor, image_size=image_size)
    return FeatureCache(folder, model, processor, dtype, precision), processor


def test_everything_that_changes_the_tokens_changes_the_cache(tmp_path):
    model = make_tiny_model()
    folders = [cache_of(tmp_path, model)[0].folder]
    assert cache_of(tmp_path, make_tiny_model())[0].folder == folders[0]
    folders.append(cache_of(tmp_path, model, dtype=torch.float32)[0].folder)
    folders.append(cache_of(tmp_path, model, image_size=64)[0].folder)
    folders.append(cache_of(tmp_path, model, precision="bf16")[0].folder)
    model.config.feature_layers = [1, 2, 3]
    folders.append(cache_of(tmp_path, model)[0].folder)
    with torch.no_grad():
        model.clip.vision_model.encoder.layers[0].mlp.fc1.bias[0] += 1e-3
    folders.append(cache_of(tmp_path, model)[0].folder)
    assert len(set(folders)) == 6


def test_tokens_of_another_precision_are_computed_again(run, parts, tmp_path, computed):
    for number, precision in enumerate(("no", "bf16"), start=1):
        run(parts, precision, epochs=1, cache_features=tmp_path / "cache", mixed_precision=precision)
        assert sum(computed) == 6 * number


def test_a_run_makes_a_cache_of_its_own_where_it_pays_and_removes_it(run, parts, tmp_path, computed):
    beside = tmp_path / "out.features"
    beside.mkdir()
    (beside / "mine.csv").touch()
    run(parts, epochs=2)
    assert sum(computed) == 6
    assert [path.name for path in beside.iterdir()] == ["mine.csv"]
    computed.clear()
    run(parts, "once", epochs=1)
    assert computed == []
    run(parts, "none", epochs=2, cache_features="none")
    assert computed == []
    assert not list(tmp_path.glob("*.features/*.safetensors"))
    assert sorted(path.name for path in tmp_path.glob("*.features")) == ["out.features"]


def test_a_cache_that_was_asked_for_stays_wherever_it_is(run, parts, tmp_path):
    run(parts, epochs=2, cache_features=tmp_path / "out.features")
    assert len(list((tmp_path / "out.features").glob("*/*.safetensors"))) == 6


def test_a_cache_that_would_be_too_large_is_not_made(run, parts, computed, monkeypatch):
    monkeypatch.setattr(caching, "LARGEST", 1000)
    run(parts, epochs=3)
    assert computed == []


def test_cached_tokens_are_those_of_the_tower(parts, tmp_path):
    model = make_tiny_model()
    cache, processor = cache_of(tmp_path / "cache", model, dtype=torch.float32)
    pictures = {f"image{index}": partial(Image.Image.copy, row["image"]) for index, row in enumerate(parts)}
    assert cache.fill(pictures, model, processor, 4, Accelerator(cpu=True)) == 6
    pixel_values = processor(images=[parts[2]["image"]])["pixel_values"]
    expected = feature_cache.vision_layer_tokens(model.clip.vision_model, pixel_values, [1, 2, 4])
    tokens = cache.read("image2")
    assert tokens.shape == (3, 17, 32)
    np.testing.assert_allclose(tokens, torch.cat(expected), atol=1e-5)
    with pytest.raises(ValueError, match=r"image9\.safetensors: is no cached feature"):
        cache.read("image9")


def test_a_disk_that_is_too_small_is_an_error_before_computing(run, parts, tmp_path, monkeypatch, computed):
    usage = feature_cache.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"features of 6 images need 0\.0 GB, but 0\.0 GB are free"):
        run(parts, cache_features=tmp_path / "cache")
    assert computed == []
