"""References: made, added to, removed, thinned, saved, and used by the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, FBCLIPReferences

TASK = "zero-shot-anomaly-detection"


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Grey parts that differ a little."""
    generator = np.random.default_rng(seed)
    base = np.random.default_rng(99).integers(60, 180, size=(8, 8, 3))
    noisy = [base + generator.integers(-6, 7, size=base.shape) for _ in range(count)]
    return [Image.fromarray(values.astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC) for values in noisy]


def scratched(picture: Image.Image) -> Image.Image:
    pixels = np.array(picture)
    pixels[10:38, 10:16] = 255
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def model() -> FBCLIPModel:
    return make_tiny_model()


@pytest.fixture(scope="module")
def processor(model: FBCLIPModel) -> FBCLIPProcessor:
    return FBCLIPProcessor.from_config(model.config)


def make(
    model: FBCLIPModel, processor: FBCLIPProcessor, images: list[Image.Image], names: list[str] | None = None
) -> FBCLIPReferences:
    return FBCLIPReferences.from_images(model, processor, images, names=names or [f"{i}" for i in range(len(images))])


def same(one: FBCLIPReferences, other: FBCLIPReferences) -> bool:
    tensors = all(torch.equal(a, b) for a, b in zip(one.views[0].bank, other.views[0].bank, strict=True))
    return tensors and one.names == other.names and one.views[0].scale == other.views[0].scale


def test_without_references_nothing_changes(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    inputs = processor(images=pictures(2))
    with torch.inference_mode():
        plain, compared = model(**inputs), model(**inputs, references=make(model, processor, pictures(3)))
    assert plain.logits is plain.reference_scores is None
    maps = compared.logits[:, 1:].sigmoid().view(2, 4, 4)
    torch.testing.assert_close(plain.anomaly_maps, maps, rtol=0, atol=1e-7)
    assert compared.reference_maps.shape == compared.anomaly_maps.shape == (2, 4, 4)


@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_a_defect_stands_out_and_good_parts_do_not(model: FBCLIPModel, processor: FBCLIPProcessor, count: int) -> None:
    references = make(model, processor, pictures(count))
    good = pictures(6, seed=5)
    with torch.inference_mode():
        calm, loud = (
            model(**processor(images=some), references=references) for some in (good, [*map(scratched, good)])
        )
    assert loud.reference_scores.min() > calm.reference_scores.max()
    if count > 1:  # one image cannot tell how much good ones differ
        assert loud.reference_scores.min() > 0.5
    assert calm.reference_maps.median() < 0.1


def test_a_reference_added_or_removed_is_as_if_always_there(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    images = pictures(5)
    grown = make(model, processor, images[:3])
    grown.add(images[3:], names=["3", "4"])
    every = make(model, processor, images)
    assert same(grown, every)
    grown.remove(["1", "4"])
    kept = [0, 2, 3]
    assert same(grown, make(model, processor, [images[i] for i in kept], [str(i) for i in kept]))


def test_leaving_one_out_is_a_bank_of_the_others(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    from modeling_fbclip.distances_fbclip import nearest_distances, nearest_of_all, reach_in_patches

    images = pictures(4)
    bank = make(model, processor, images).views[0].bank
    others = make(model, processor, images[1:]).views[0].bank
    reach = reach_in_patches(1 / 8, (4, 4))
    fresh = torch.stack([nearest_distances(bank.tokens[0], other, reach) for other in others.tokens])
    assert torch.equal(nearest_of_all(bank.pairs[0, 1:]), nearest_of_all(fresh))


def test_a_saved_bank_gives_the_same_numbers(model: FBCLIPModel, processor: FBCLIPProcessor, tmp_path: Path) -> None:
    references = make(model, processor, pictures(3))
    references.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["references.json", "references.safetensors"]
    loaded = FBCLIPReferences.from_pretrained(tmp_path)
    assert same(references, loaded)
    inputs = processor(images=[scratched(pictures(1)[0])])
    with torch.inference_mode():
        first, second = (model(**inputs, references=bank) for bank in (references, loaded))
    assert torch.equal(first.anomaly_maps, second.anomaly_maps)
    with pytest.raises(ValueError, match="pass `model` and `processor`"):
        loaded.add(pictures(1, seed=9))
    loaded.add(pictures(1, seed=9), model=model, processor=processor)
    assert loaded.names == ["0", "1", "2", "image 3"]


def test_a_bank_of_another_model_or_processor_is_refused(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    references = make(model, processor, pictures(2))
    other = make_tiny_model()
    with torch.no_grad():
        other.scale_weights += 1
    with pytest.raises(ValueError, match="made with another model"):
        other(**processor(images=pictures(1)), references=references)
    with pytest.raises(ValueError, match="made with another processor"):
        references.check(model, FBCLIPProcessor(image_size=40))


def test_a_model_that_has_changed_is_another_one(processor: FBCLIPProcessor) -> None:
    model = make_tiny_model()
    references = make(model, processor, pictures(2))
    references.check(model)
    with torch.no_grad():
        model.scale_weights += 1
    with pytest.raises(ValueError, match="made with another model"):
        references.check(model)


def test_thinned_banks_keep_a_patch_for_each_place(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    thin = FBCLIPReferences.from_images(model, processor, pictures(6), max_patches=2 * 16)
    assert (len(thin), len(thin.views[0].bank.tokens)) == (6, 2)
    assert thin.views[0].scale == make(model, processor, pictures(6)).views[0].scale
    with pytest.raises(ValueError, match="left out by `max_patches`"):
        thin.remove("image 0")
    with pytest.raises(ValueError, match="at least 16"):
        FBCLIPReferences.from_images(model, processor, pictures(2), max_patches=15)


def test_mutual_images_find_the_odd_ones(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    images = pictures(12)
    odd = [2, 7, 9]
    images = [scratched(picture) if index in odd else picture for index, picture in enumerate(images)]
    references = FBCLIPReferences.from_images(model, processor, images, mutual=True)
    with torch.inference_mode():
        scores = model(**processor(images=images), references=references).reference_scores
    assert sorted(scores.argsort(descending=True)[:3].tolist()) == odd
    # In the sample or not makes no difference but for the number of the others.
    assert scores[odd].min() > 0.5 > scores[[i for i in range(12) if i not in odd]].max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "Got 0 images, but need at least 1 reference image"),
        ({"images": pictures(7), "mutual": True}, "Got 7 images, but need at least 8 images to judge one another"),
        ({"images": pictures(2), "names": ["a", "a"]}, "'a' is a reference twice"),
        ({"images": pictures(2), "names": ["a"]}, "Got 2 images, but 1 names"),
        ({"images": pictures(1), "reach": 0}, "`reach` is 0"),
        ({"images": ["no.png"]}, "no.png"),
    ],
)
def test_mistakes_are_named(model: FBCLIPModel, processor: FBCLIPProcessor, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FBCLIPReferences.from_images(model, processor, **arguments)


def test_removing_needs_a_name_and_leaves_one(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    references = make(model, processor, pictures(2))
    with pytest.raises(ValueError, match="There is no reference 'x'; there are 0, 1"):
        references.remove("x")
    with pytest.raises(ValueError, match="0 references would be left"):
        references.remove(["0", "1"])
    assert len(references) == 2


def test_damaged_files_are_named(model: FBCLIPModel, processor: FBCLIPProcessor, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"references\.json"):
        FBCLIPReferences.from_pretrained(tmp_path)
    make(model, processor, pictures(2)).save_pretrained(tmp_path)
    for name in ("references.safetensors", "references.json"):
        (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(ValueError, match="its references are damaged"):
            FBCLIPReferences.from_pretrained(tmp_path)


def test_the_pipeline_takes_references_of_every_kind(
    model: FBCLIPModel, processor: FBCLIPProcessor, tmp_path: Path
) -> None:
    def detect(references: object, images: object) -> list[float]:
        found = pipeline(TASK, model=model, processor=processor, references=references)(images)
        return [result["score"] for result in found]

    good = pictures(3)
    parts = [scratched(picture) if index < 2 else picture for index, picture in enumerate(pictures(8, seed=5))]
    references = FBCLIPReferences.from_images(model, processor, good)
    references.save_pretrained(tmp_path / "saved")
    given = detect(references, parts)
    assert detect(good, parts) == detect(tmp_path / "saved", parts) == given
    assert max(given[2:]) < 0.5 < min(given[:2])
    for index, picture in enumerate(parts):
        picture.save(tmp_path / f"{index}.png")
    mutual = detect("mutual", parts)
    assert detect("mutual", str(tmp_path)) == mutual
    assert max(mutual[2:]) < min(mutual[:2])
    with pytest.raises(ValueError, match="Got 2 images, but need at least 8"):
        detect("mutual", parts[:2])
    with pytest.raises(ValueError, match="needs a list of images, or a folder"):
        detect("mutual", tmp_path / "0.png")


def test_thresholds_belong_to_one_kind_of_answer(model: FBCLIPModel) -> None:
    processor = FBCLIPProcessor.from_config(model.config)
    processor.threshold, processor.pixel_threshold = 0.9, 0.8
    plain = {"image_scores": torch.tensor([0.7]), "anomaly_maps": torch.full((1, 4, 4), 0.7)}
    compared = plain | {"reference_scores": torch.tensor([0.1])}

    def decisions() -> list[tuple[str, bool]]:
        results = [processor.post_process_anomaly_detection(outputs)[0] for outputs in (plain, compared)]
        return [(result["label"], bool(result["mask"].any())) for result in results]

    assert decisions() == [("normal", False), ("anomalous", True)]
    processor.thresholds_with_references = True
    assert decisions() == [("anomalous", True), ("normal", False)]


def test_with_references_the_score_is_the_joint_one(model: FBCLIPModel) -> None:
    processor = FBCLIPProcessor.from_config(model.config)
    outputs = {"image_scores": torch.tensor([0.7]), "anomaly_maps": torch.full((1, 4, 4), 0.2)}
    for score in ("cls", "map_max", "map_top1"):
        processor.score = score
        joint = processor.image_scores(outputs | {"reference_scores": torch.tensor([0.1])})
        assert joint.item() == pytest.approx(0.7)


def test_references_go_with_the_models_own_prompts(model: FBCLIPModel, processor: FBCLIPProcessor) -> None:
    references, inputs = make(model, processor, pictures(2)), processor(images=pictures(1))
    own = torch.tensor(model.config.prompt_input_ids)
    assert model(**inputs, references=references, prompt_input_ids=own).reference_scores is not None
    with pytest.raises(ValueError, match="References go with the model's own prompts"):
        model(**inputs, references=references, prompt_input_ids=own.flip(0))


def test_the_number_type_is_free_where_the_values_are_the_same(processor: FBCLIPProcessor) -> None:
    rounded = make_tiny_model().half().float()
    references = make(rounded, processor, pictures(2))
    references.check(make_tiny_model().half())
    with pytest.raises(ValueError, match="rounded otherwise"):
        references.check(make_tiny_model().bfloat16())
