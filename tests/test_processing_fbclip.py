"""The processor: pixels and masks in, prompts in, maps out, and its settings saved and loaded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoProcessor, CLIPImageProcessorPil, PreTrainedTokenizerFast

from modeling_fbclip import FBCLIPConfig, FBCLIPOutput, FBCLIPProcessor

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
# Words and their ids in CLIP's vocabulary.
VOCABULARY = {"!": 0, ".": 269, "x": 343, "with": 593, "without": 2193, "object": 14115, "defect": 44013}
START, END = ("<|startoftext|>", 49406), ("<|endoftext|>", 49407)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words with CLIP's ids, lower-cased and padded with the end token as CLIP's tokenizer does."""
    words = Tokenizer(models.WordLevel(VOCABULARY | dict([START, END]), unk_token=END[0]))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"bos_token": START[0], "eos_token": END[0], "unk_token": END[0], "pad_token": END[0]}
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def outputs_of(maps: torch.Tensor, scores: list[float] | None = None) -> FBCLIPOutput:
    return FBCLIPOutput(image_scores=torch.tensor(scores or [0.5] * len(maps)), anomaly_maps=maps)


@pytest.mark.parametrize("size", [(300, 200), (40, 60), (1, 1), (3, 1), (518, 518)])
def test_pixels_are_those_of_pillows_bicubic_resize_normalised(size: tuple[int, int]) -> None:
    image = noise(*size)
    pixel_values = FBCLIPProcessor()(images=image)["pixel_values"]
    resized = Image.fromarray(image).resize((518, 518), Image.Resampling.BICUBIC)
    expected = (torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255 - MEAN) / STD
    assert pixel_values.shape == (1, 3, 518, 518)
    assert pixel_values.dtype == torch.float32
    torch.testing.assert_close(pixel_values[0], expected, rtol=0, atol=1e-6)


def test_pixels_of_a_grey_image_are_known_numbers() -> None:
    pixel_values = FBCLIPProcessor(image_size=(2, 4))(images=Image.new("L", (30, 20), 128))["pixel_values"]
    assert pixel_values.shape == (1, 3, 2, 4)
    expected = torch.tensor([0.0763, 0.1689, 0.3400]).view(1, 3, 1, 1)
    torch.testing.assert_close(pixel_values, expected.expand(1, 3, 2, 4), rtol=0, atol=1e-4)


def test_images_of_every_size_and_kind_make_one_batch(tmp_path: Path) -> None:
    processor = FBCLIPProcessor(image_size=8)
    first, second = noise(20, 30), noise(9, 5, seed=1)
    Image.fromarray(first).save(tmp_path / "first.png")
    images = [tmp_path / "first.png", Image.fromarray(second), torch.from_numpy(first).permute(2, 0, 1), second / 255]
    batch = processor(images=images)["pixel_values"]
    singles = [processor(images=image)["pixel_values"][0] for image in (first, second, first, second)]
    assert torch.equal(batch, torch.stack(singles))
    assert torch.equal(processor(images=tuple(images))["pixel_values"], batch)


def test_an_array_of_four_dimensions_is_a_batch_and_numpy_arrays_can_be_returned() -> None:
    processor, images = FBCLIPProcessor(image_size=8), [noise(16, 12), noise(16, 12, seed=1)]
    expected = processor(images=images)["pixel_values"]
    channels_first = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    assert torch.equal(processor(images=channels_first)["pixel_values"], expected)
    pixel_values = processor(images=np.stack(images), return_tensors="np")["pixel_values"]
    assert isinstance(pixel_values, np.ndarray)
    assert np.array_equal(pixel_values, expected.numpy())


def test_bad_image_of_a_list_is_named_by_its_index() -> None:
    with pytest.raises(ValueError, match=r"^images\[1\]: array of shape \(4,\)"):
        FBCLIPProcessor(image_size=8)(images=[noise(4, 4), np.zeros(4)])


@pytest.mark.parametrize("arguments", [{}, {"images": []}, {"masks": []}, {"images": [], "masks": []}])
def test_nothing_to_prepare_is_an_error(arguments: dict) -> None:
    with pytest.raises(ValueError, match="pass one or more `images`"):
        FBCLIPProcessor()(**arguments)


def test_masks_are_resized_antialiased_and_cut_at_one_half() -> None:
    masks = np.random.default_rng(0).random((3, 37, 53)) > 0.6
    labels = FBCLIPProcessor(image_size=(10, 16))(masks=masks)["mask_labels"]
    resized = F.interpolate(
        torch.from_numpy(masks)[:, None].float(), size=(10, 16), mode="bilinear", antialias=True, align_corners=False
    )[:, 0]
    assert ((resized - 0.5).abs() > 1e-5).all(), "a tie would make the comparison a matter of rounding"
    assert labels.dtype == torch.float32
    assert torch.equal(labels, (resized > 0.5).float())
    assert 0 < labels.mean() < 1


def test_exactly_one_half_is_normal() -> None:
    mask = np.array([[1, 1], [0, 1]], np.uint8)
    assert FBCLIPProcessor(image_size=(2, 1))(masks=mask)["mask_labels"].tolist() == [[[1.0], [0.0]]]


def test_faint_mask_values_count_and_none_is_normal(tmp_path: Path) -> None:
    Image.new("L", (6, 4), 1).save(tmp_path / "mask.png")
    inputs = FBCLIPProcessor(image_size=2)(images=[noise(4, 6)] * 2, masks=[tmp_path / "mask.png", None])
    assert inputs["pixel_values"].shape == (2, 3, 2, 2)
    assert inputs["mask_labels"].tolist() == [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]


def test_a_mask_may_have_a_channel() -> None:
    mask = np.zeros((16, 12, 1), np.uint8)
    mask[4:12, 3:9] = 1
    processor = FBCLIPProcessor(image_size=16)
    expected = processor(masks=mask[:, :, 0])["mask_labels"]
    assert expected.sum() > 0
    for masks in (mask, [mask], mask[None], torch.from_numpy(mask).permute(2, 0, 1), torch.from_numpy(mask)[None]):
        assert torch.equal(processor(masks=masks)["mask_labels"], expected)


def test_numbers_of_images_and_masks_must_be_equal() -> None:
    processor = FBCLIPProcessor(image_size=8)
    with pytest.raises(ValueError, match="Got 2 images, but 1 masks; pass None"):
        processor(images=[noise(4, 4)] * 2, masks=[None])
    with pytest.raises(ValueError, match="Got 1 images, but 0 masks"):
        processor(images=noise(4, 4), masks=[])


def test_map_is_upsampled_smoothed_and_resized_to_each_image() -> None:
    processor = FBCLIPProcessor(image_size=(40, 48), smoothing_sigma=3.0)
    maps, sizes = torch.rand(2, 5, 6, generator=torch.manual_seed(0)), [(31, 17), (80, 100)]
    results = processor.post_process_anomaly_detection(outputs_of(maps), target_sizes=sizes)
    for one, size, result in zip(maps, sizes, results, strict=True):
        upsampled = F.interpolate(one[None, None], size=(40, 48), mode="bilinear", align_corners=False)[0, 0]
        smoothed = torch.from_numpy(gaussian_filter(upsampled.numpy(), 3.0))
        expected = F.interpolate(smoothed[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        assert result["anomaly_map"].shape == size
        torch.testing.assert_close(result["anomaly_map"], expected, rtol=0, atol=1e-6)
        assert torch.equal(result["mask"], result["anomaly_map"] >= 0.5)


def test_target_sizes_may_be_a_tensor_or_left_out() -> None:
    processor, outputs = FBCLIPProcessor(image_size=(6, 4)), outputs_of(torch.rand(2, 3, 2))
    for target_sizes, expected in ((torch.tensor([[5, 7], [8, 2]]), [(5, 7), (8, 2)]), (None, [(6, 4), (6, 4)])):
        results = processor.post_process_anomaly_detection(outputs, target_sizes)
        assert [tuple(result["anomaly_map"].shape) for result in results] == expected


def test_score_is_not_smoothed_and_the_threshold_itself_is_anomalous() -> None:
    processor = FBCLIPProcessor(image_size=4, threshold=0.25, pixel_threshold=0.75)
    outputs = outputs_of(torch.tensor([[[0.75]], [[0.5]]]), scores=[0.25, 0.125])
    first, second = processor.post_process_anomaly_detection(outputs)
    assert (first["score"], first["label"], second["score"], second["label"]) == (0.25, "anomalous", 0.125, "normal")
    assert isinstance(first["score"], float)
    assert first["mask"].all()
    assert not second["mask"].any()
    first, second = processor.post_process_anomaly_detection(outputs, threshold=0.1, pixel_threshold=0.8)
    assert (first["label"], second["label"]) == ("anomalous", "anomalous")
    assert not first["mask"].any()


def test_scores_of_the_map_are_its_largest_value_and_the_mean_of_its_top_hundredth() -> None:
    maps = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    outputs = outputs_of(maps, scores=[0.25, 0.125])
    expected = {
        "cls": torch.tensor([0.25, 0.125]),
        "map_max": maps.amax((1, 2)),
        "map_top1": maps.flatten(1).sort(descending=True).values[:, :4].mean(1),  # 4 of 400 pixels
    }
    for score, values in expected.items():
        processor = FBCLIPProcessor(image_size=20, smoothing_sigma=0, score=score)
        torch.testing.assert_close(processor.image_scores(outputs), values)
        results = processor.post_process_anomaly_detection(outputs, target_sizes=[(3, 3), (50, 7)])
        torch.testing.assert_close(torch.tensor([result["score"] for result in results]), values)


def test_map_scores_are_of_the_smoothed_map() -> None:
    spike = torch.zeros(1, 9, 9)
    spike[0, 4, 4] = 1
    processor = FBCLIPProcessor(image_size=9, smoothing_sigma=1, score="map_max")
    peak = gaussian_filter(spike[0].numpy(), 1.0).max()
    assert processor.image_scores(outputs_of(spike)).item() == pytest.approx(peak, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_results_are_float32_for_every_dtype_of_the_model(dtype: torch.dtype) -> None:
    scores, maps = torch.tensor([0.5], dtype=dtype, requires_grad=True), torch.rand(1, 2, 2).to(dtype)
    outputs = {"image_scores": scores, "anomaly_maps": maps}
    (result,) = FBCLIPProcessor(image_size=8).post_process_anomaly_detection(outputs)
    assert (result["score"], result["anomaly_map"].dtype, result["mask"].dtype) == (0.5, torch.float32, torch.bool)


def test_map_values_stay_between_0_and_1() -> None:
    outputs = outputs_of(torch.ones(1, 3, 3))
    (result,) = FBCLIPProcessor(image_size=50).post_process_anomaly_detection(outputs, target_sizes=[(33, 71)])
    assert result["anomaly_map"].max() <= 1
    assert result["anomaly_map"].min() > 1 - 1e-6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"target_sizes": [(4, 4)]}, "`target_sizes` has 1 entries, but there are 2 images"),
        ({"target_sizes": [(4, 4), (0, 4)]}, r"`target_sizes` has \(0, 4\), but each must be \(height, width\)"),
        ({"threshold": 1.5}, "`threshold` is 1.5, but must be between 0 and 1"),
        ({"threshold": float("nan")}, "`threshold` is nan"),
    ],
)
def test_wrong_argument_of_post_processing_is_named(arguments: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FBCLIPProcessor(image_size=8).post_process_anomaly_detection(outputs_of(torch.rand(2, 2, 2)), **arguments)


def test_outputs_that_are_not_finite_are_refused() -> None:
    maps = torch.rand(2, 2, 2)
    for outputs in (outputs_of(maps, scores=[float("nan"), 0.5]), outputs_of(maps / 0)):
        with pytest.raises(ValueError, match="not finite; try a wider dtype"):
            FBCLIPProcessor(image_size=8).post_process_anomaly_detection(outputs)


def test_prompts_have_the_ids_that_the_released_weights_were_trained_with(tokenizer: PreTrainedTokenizerFast) -> None:
    processor = FBCLIPProcessor(tokenizer=tokenizer)
    ids = processor.encode_prompts("object without defect.", "object with defect.")
    assert ids.dtype == torch.int64
    assert ids[0].tolist() == [49406, *[343] * 12, 14115, 2193, 44013, 269, 49407] + [0] * 59
    assert ids[1].tolist() == [49406, *[343] * 12, 14115, 593, 44013, 269, 49407] + [0] * 59
    assert ids.tolist() == FBCLIPConfig().prompt_input_ids


def test_prompt_length_and_context_are_the_configurations(tokenizer: PreTrainedTokenizerFast) -> None:
    processor = FBCLIPProcessor(tokenizer=tokenizer, prompt_length=2, context_length=6)
    assert processor.encode_prompts("object", "defect.").tolist() == [
        [49406, 343, 343, 14115, 49407, 0],
        [49406, 343, 343, 44013, 269, 49407],
    ]
    with pytest.raises(ValueError, match=r"'object with defect' has 3 tokens, but 2 fit the context of 6 beside 2"):
        processor.encode_prompts("object", "object with defect")


def test_prompts_without_tokenizer_say_where_to_get_one() -> None:
    with pytest.raises(ValueError, match=r"no tokenizer.*AutoTokenizer\.from_pretrained"):
        FBCLIPProcessor().encode_prompts("object", "defect")


def test_prompt_must_be_a_text_and_the_tokenizer_needs_its_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    processor = FBCLIPProcessor(tokenizer=tokenizer)
    for prompt in ("", "  ", None, ["object"]):
        with pytest.raises(ValueError, match="A prompt must be a text"):
            processor.encode_prompts("object", prompt)
    tokenizer.bos_token = None
    with pytest.raises(ValueError, match="must have start and end tokens"):
        processor.encode_prompts("object", "defect")


def test_defaults_are_the_papers() -> None:
    processor = FBCLIPProcessor.from_config(FBCLIPConfig())
    assert processor.to_dict() == FBCLIPProcessor().to_dict()
    assert processor.image_size == (518, 518)
    settings = ("smoothing_sigma", "score", "threshold", "pixel_threshold", "prompt_length", "context_length")
    assert [getattr(processor, name) for name in settings] == [4.0, "cls", 0.5, 0.5, 12, 77]


def test_settings_come_from_the_configuration(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [[49406, 343, 14115, 49407], [49406, 343, 44013, 49407]]
    clip = {"text_config": {"max_position_embeddings": 4}, "vision_config": {"patch_size": 7, "num_hidden_layers": 2}}
    config = FBCLIPConfig(
        clip_config=clip, image_size=70, smoothing_sigma=1.5, prompt_length=1, prompt_input_ids=ids, feature_layers=[2]
    )
    processor = FBCLIPProcessor.from_config(config, tokenizer=tokenizer)
    assert processor.image_size == (70, 70)
    assert processor.smoothing_sigma == 1.5
    assert processor.encode_prompts("object", "defect").tolist() == ids


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"smoothing_sigma": -1}, "`smoothing_sigma` is -1, but must be finite and at least 0"),
        ({"smoothing_sigma": float("inf")}, "`smoothing_sigma` is inf"),
        ({"threshold": 1.1}, "`threshold` is 1.1, but must be between 0 and 1"),
        ({"score": "median"}, "`score` is 'median', but must be one of 'cls', 'map_max', 'map_top1'"),
        ({"pixel_threshold": -0.5}, "`pixel_threshold` is -0.5"),
        ({"image_size": 0}, "`image_size` is 0, but must be at least 1"),
        ({"prompt_length": 0}, "`prompt_length` is 0, but must be from 1 to 75"),
        ({"prompt_length": 5, "context_length": 6}, "`prompt_length` is 5, but must be from 1 to 4"),
        ({"image_processor": CLIPImageProcessorPil()}, "must resize to one height and width.*pass `image_size`"),
    ],
)
def test_wrong_setting_is_refused_at_construction(arguments: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FBCLIPProcessor(**arguments)


def test_image_size_corrects_a_cropping_image_processor() -> None:
    processor = FBCLIPProcessor(CLIPImageProcessorPil(image_mean=[0.0] * 3, image_std=[1.0] * 3), image_size=4)
    pixel_values = processor(images=Image.new("RGB", (9, 7), (0, 51, 255)))["pixel_values"]
    torch.testing.assert_close(pixel_values, torch.tensor([0, 0.2, 1]).view(1, 3, 1, 1).expand(1, 3, 4, 4))


def test_saved_settings_come_back_and_give_the_same_pixels(tmp_path: Path) -> None:
    processor = FBCLIPProcessor(image_size=(6, 8), smoothing_sigma=0, threshold=np.float32(0.25), prompt_length=3)
    processor.pixel_threshold = 0.125  # as calibration does
    processor.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "processor_config.json").read_text())
    assert (stored["threshold"], stored["pixel_threshold"], stored["smoothing_sigma"]) == (0.25, 0.125, 0.0)
    for loaded in (FBCLIPProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is FBCLIPProcessor
        assert loaded.to_dict() | {"auto_map": None} == processor.to_dict() | {"auto_map": None}
        assert loaded.tokenizer is None
        assert torch.equal(loaded(images=noise(9, 9))["pixel_values"], processor(images=noise(9, 9))["pixel_values"])


def test_tokenizer_is_saved_and_loaded(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    processor = FBCLIPProcessor(tokenizer=tokenizer, image_size=8)
    processor.save_pretrained(tmp_path)
    prompts = "object without defect.", "object with defect."
    for loaded in (FBCLIPProcessor.from_pretrained(str(tmp_path)), AutoProcessor.from_pretrained(tmp_path)):
        assert torch.equal(loaded.encode_prompts(*prompts), processor.encode_prompts(*prompts))
    assert "tokenizer" not in json.loads(processor.to_json_string())


def test_settings_can_be_overridden_on_loading(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    FBCLIPProcessor(tokenizer=tokenizer, image_size=8).save_pretrained(tmp_path)
    loaded = FBCLIPProcessor.from_pretrained(tmp_path, image_size=4, threshold=0.75)
    assert (loaded.image_size, loaded.threshold) == ((4, 4), 0.75)
    assert "threshold" not in loaded.tokenizer.init_kwargs
    with pytest.raises(ValueError, match="`threshold` is 2"):
        FBCLIPProcessor.from_pretrained(tmp_path, threshold=2)


def test_a_generator_is_read_like_a_list() -> None:
    processor = FBCLIPProcessor(image_size=16)
    images = [noise(8, 9), noise(10, 11, seed=1)]
    from_generator = processor(images=(image for image in images))["pixel_values"]
    assert torch.equal(from_generator, processor(images=images)["pixel_values"])
