"""Images larger than the model's size, through processor, pipeline and references."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from transformers import CLIPImageProcessorPil, pipeline

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences
from modeling_fbclip.tiles_fbclip import Tiling, join_views


@pytest.fixture(scope="module")
def model() -> FBCLIPModel:
    return make_tiny_model()


@pytest.fixture
def processor(model: FBCLIPModel) -> FBCLIPProcessor:
    return FBCLIPProcessor.from_config(model.config)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def detect(model: FBCLIPModel, processor: FBCLIPProcessor, image: Image.Image, references=None) -> dict:
    views = processor.views((image.height, image.width))
    with torch.inference_mode():
        outputs = [
            model(
                processor.prepare_view(image, view)[None],
                references=None if references is None else references.at([place]),
            )
            for place, view in enumerate(views)
        ]
    return processor.post_process_views(outputs, (image.height, image.width))


def test_tiles_are_crops_and_the_result_is_joined_of_them_and_the_whole(model, processor) -> None:
    image = picture(50, 70)
    tiled = processor.with_views(tile="auto")
    tiling = Tiling.of((50, 70), (32, 32), 8)
    assert [view.box for view in tiled.views((50, 70))][1:] == list(tiling.boxes())
    parts = [image.resize((32, 24), Image.Resampling.BICUBIC), *map(image.crop, tiling.boxes())]
    with torch.inference_mode():
        outputs = [model(processor(images=part, do_resize=False)["pixel_values"]) for part in parts]
    maps = [output.anomaly_maps[0] for output in outputs]
    result = detect(model, tiled, image)
    expected = join_views(maps[0], maps[1:], tiling, (50, 70), processor.smoothing_sigma)
    torch.testing.assert_close(result["anomaly_map"], expected, rtol=0, atol=1e-6)
    assert result["score"] == pytest.approx(max(output.image_scores.item() for output in outputs), abs=1e-6)


@pytest.mark.parametrize("score", ["map_max", "map_top1"])
def test_the_score_of_an_image_is_the_largest_of_its_views(model, processor, score) -> None:
    image = picture(50, 70)
    tiled = processor.with_views(tile="auto")
    tiled.score = processor.score = score
    crops = [image.crop(view.box) for view in tiled.views((50, 70))[1:]]
    singles = [detect(model, processor, crop)["score"] for crop in crops]
    singles.append(detect(model, processor.with_views(keep_aspect=True), image)["score"])
    assert detect(model, tiled, image)["score"] == pytest.approx(max(singles), abs=1e-6)


def test_smoothing_is_as_wide_as_the_models_pixels_in_the_image(processor) -> None:
    outputs = [{"image_scores": torch.zeros(1), "anomaly_maps": torch.zeros(1, 4, 4)} for _ in range(10)]
    outputs[5]["anomaly_maps"][0, 1, 1] = 1  # the tile in the middle
    wide = processor.with_views(tile=64, overlap=16)
    assert len(wide.views((128, 128))) == 10
    found = wide.map_of_views(outputs, (128, 128))
    sharp = FBCLIPProcessor(image_size=32, patch_size=8, smoothing_sigma=0, tile=64, overlap=16)
    expected = gaussian_filter(sharp.map_of_views(outputs, (128, 128)).numpy(), 2 * processor.smoothing_sigma)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_an_image_keeps_its_aspect_in_pixels_masks_and_map(model, processor) -> None:
    kept = processor.with_views(keep_aspect=True)
    image, mask = picture(40, 80), np.zeros((40, 80), np.uint8)
    inputs = kept(images=[image], masks=[mask])
    assert inputs["pixel_values"].shape == (1, 3, 16, 32)
    assert inputs["mask_labels"].shape == kept(masks=[mask])["mask_labels"].shape == (1, 16, 32)
    with torch.inference_mode():
        outputs = model(inputs["pixel_values"])
    (result,) = kept.post_process_anomaly_detection(outputs, [(40, 80)])
    assert result["anomaly_map"].shape == (40, 80)
    assert kept.post_process_anomaly_detection(outputs)[0]["anomaly_map"].shape == (16, 32)
    with pytest.raises(ValueError, match="make no batch; resize, or pass"):
        kept(images=[image, picture(80, 40)])


def test_the_setting_is_part_of_the_processors_file(processor, tmp_path) -> None:
    processor.with_views(tile="auto", overlap=9, keep_aspect=True).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "processor_config.json").read_text())
    assert (stored["tile"], stored["overlap"], stored["keep_aspect"], stored["patch_size"]) == ("auto", 9, True, 8)
    assert FBCLIPProcessor.from_pretrained(tmp_path).views((100, 100)) == processor.with_views(
        tile="auto", overlap=9, keep_aspect=True
    ).views((100, 100))
    assert FBCLIPProcessor.from_pretrained(tmp_path, tile=34).tile == 34
    assert FBCLIPProcessor.from_pretrained(tmp_path).with_views(tile=64).overlap is None  # 9 was for another tile
    with pytest.raises(ValueError, match="`overlap` is 40, but must be from 8"):
        FBCLIPProcessor.from_pretrained(tmp_path, overlap=40)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_pipeline_cuts_tiles_and_fills_batches_with_those_of_several_images(model, processor, batch_size) -> None:
    images = [picture(50, 70), picture(20, 20, 1), picture(40, 64, 2)]
    tiled = processor.with_views(tile="auto")
    expected = [detect(model, tiled, image) for image in images]
    seen = []
    hook = model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    detector = pipeline("zero-shot-anomaly-detection", model=model, processor=processor, tile="auto")
    results = detector(images, batch_size=batch_size)
    hook.remove()
    for result, one in zip(results, expected, strict=True):
        torch.testing.assert_close(result["anomaly_map"], one["anomaly_map"], rtol=0, atol=1e-6)
        assert result["score"] == pytest.approx(one["score"], abs=1e-6)
    assert max(seen) == batch_size
    whole = pipeline("zero-shot-anomaly-detection", model=model, processor=processor)
    assert whole(images[0])["score"] == pytest.approx(detect(model, processor, images[0])["score"], abs=1e-6)
    again = whole(images[0], tile="auto")
    torch.testing.assert_close(again["anomaly_map"], expected[0]["anomaly_map"], rtol=0, atol=1e-6)
    assert detector(images[0], tile=None)["score"] == pytest.approx(whole(images[0])["score"], abs=1e-6)
    with pytest.raises(TypeError, match="tiles: no setting of the pipeline"):
        whole(images[0], tiles="auto")
    with pytest.raises(ValueError, match="`overlap` is for tiles; pass `tile` too"):
        whole(images[0], overlap=8)


def test_references_are_kept_for_each_tile_and_survive_a_file(model, processor, tmp_path) -> None:
    tiled = processor.with_views(tile="auto")
    good = [picture(50, 70, seed) for seed in range(3)]
    references = FBCLIPReferences.from_images(model, tiled, good, ["a", "b", "c"])
    assert len(references.views) == len(tiled.views((50, 70))) == 13
    image = picture(50, 70, 9)
    boxes = [view.box for view in tiled.views((50, 70))]
    of_tile = FBCLIPReferences.from_images(model, processor, [one.crop(boxes[5]) for one in good], ["a", "b", "c"])
    crop = processor(images=image.crop(boxes[5]))["pixel_values"]
    with torch.inference_mode():
        apart = model(crop, references=of_tile)
        together = model(crop, references=references.at([5]))
    torch.testing.assert_close(together.anomaly_maps, apart.anomaly_maps, rtol=0, atol=1e-6)
    first = detect(model, tiled, image, references)
    references.save_pretrained(tmp_path)
    loaded = FBCLIPReferences.from_pretrained(tmp_path)
    loaded.check(model, tiled)
    again = detect(model, tiled, image, loaded)
    torch.testing.assert_close(first["anomaly_map"], again["anomaly_map"], rtol=0, atol=0)
    with pytest.raises(ValueError, match="made with another processor"):
        loaded.check(model, processor)


def test_references_on_tiles_grow_and_shrink_as_if_made_at_once(model, processor) -> None:
    tiled = processor.with_views(tile="auto")
    good = [picture(40, 40, seed) for seed in range(3)]
    whole = FBCLIPReferences.from_images(model, tiled, good, ["a", "b", "c"])
    grown = FBCLIPReferences.from_images(model, tiled, good[:1] + good[2:], ["a", "c"])
    grown.remove("c")
    grown.add(good[1:], ["b", "c"])
    assert [view.scale for view in grown.views] == [view.scale for view in whole.views]


def test_references_of_another_shape_are_refused_in_a_line(model, processor) -> None:
    tiled = processor.with_views(tile="auto")
    with pytest.raises(ValueError, match="b: its shape is not that of the other references"):
        FBCLIPReferences.from_images(model, tiled, [picture(50, 70), picture(70, 50)], ["a", "b"])
    references = FBCLIPReferences.from_images(model, tiled, [picture(50, 70), picture(50, 70, 1)], ["a", "b"])
    detector = pipeline("zero-shot-anomaly-detection", model=model, processor=tiled, references=references)
    assert detector(picture(50, 70, 2))["anomaly_map"].shape == (50, 70)
    with pytest.raises(ValueError, match="The image is seen in 1 views, the first of \\(4, 4\\) patches"):
        detector(picture(30, 30))


def test_files_of_processors_without_a_patch_size_follow_the_model(model, processor) -> None:
    old = FBCLIPProcessor(image_size=32, smoothing_sigma=processor.smoothing_sigma, prompt_length=4)  # patches of 14
    detector = pipeline("zero-shot-anomaly-detection", model=model, processor=old, keep_aspect=True)
    assert detector(picture(40, 80))["score"] == pytest.approx(
        detect(model, processor.with_views(keep_aspect=True), picture(40, 80))["score"], abs=1e-6
    )


def test_images_that_are_not_resized_are_not_cut() -> None:
    as_they_are = FBCLIPProcessor(
        CLIPImageProcessorPil(do_resize=False, do_center_crop=False, size={"height": 32, "width": 32}), patch_size=8
    )
    view = as_they_are.views((48, 64))[0]
    assert as_they_are.prepare_view(picture(48, 64), view).shape == (3, 48, 64)
    with pytest.raises(ValueError, match="`tile` and `keep_aspect` resize images, but `do_resize` is False"):
        as_they_are.with_views(tile="auto")


def test_a_thinned_bank_keeps_so_many_patches_of_all_views(model, processor) -> None:
    tiled, good = processor.with_views(tile="auto"), [picture(50, 70, seed) for seed in range(3)]
    thin = FBCLIPReferences.from_images(model, tiled, good, ["a", "b", "c"], max_patches=13 * 16)
    assert [view.bank.tokens.shape[0] for view in thin.views] == [1] * 13


def test_outputs_of_other_views_are_refused(processor) -> None:
    outputs = [{"image_scores": torch.zeros(1), "anomaly_maps": torch.zeros(1, 4, 4)}] * 3
    with pytest.raises(ValueError, match="outputs of 3 views, but an image of \\(50, 70\\) has others"):
        processor.with_views(tile="auto").map_of_views(outputs, (50, 70))


def test_a_map_of_the_whole_alone_is_the_papers(model, processor) -> None:
    image = picture(50, 70)
    with torch.inference_mode():
        outputs = model(processor(images=image)["pixel_values"])
    (plain,) = processor.post_process_anomaly_detection(outputs, [(50, 70)])
    torch.testing.assert_close(detect(model, processor, image)["anomaly_map"], plain["anomaly_map"], rtol=0, atol=0)
    enlarged = F.interpolate(outputs.anomaly_maps[None], (32, 32), mode="bilinear")[0, 0]
    assert plain["anomaly_map"].mean() == pytest.approx(enlarged.mean().item(), abs=0.02)
