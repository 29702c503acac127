"""Prompts that visitors write."""

import pytest
from modeling_fbclip.demo.prompts import own_prompts, read_prompts

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import load_detector


@pytest.fixture(scope="module")
def bundled() -> Detector:
    return load_detector()


def test_the_models_own_prompts_are_not_encoded_again(bundled):
    own = own_prompts(bundled)
    assert own == ("object without defect .", "object with defect .")
    assert read_prompts(bundled, *own) == read_prompts(bundled, "", "") == (None, [])


def test_words_that_the_vocabulary_lacks_are_told(bundled):
    ids, notes = read_prompts(bundled, "wood without defect", "<b>zebra</b> with defect zebra")
    assert ids.shape == (2, 77)
    (note,) = notes
    assert note.startswith("This model does not know ")
    assert "'zebra'" in note
    assert note.count("zebra") == 1
    assert read_prompts(bundled, "wood without defect", "wood with defect")[1] == []


@pytest.mark.parametrize(
    ("normal", "anomalous", "said"),
    [
        ("wood", "wood", "^Both prompts are the same to it; change one of them"),
        ("good  wood", "good wood", "^Both prompts are the same"),
        ("zebra", "giraffe", "does not know 'zebra', 'giraffe', so both prompts are the same to it"),
        ("", "defect", "Say what a faultless image shows"),
        ("wood", "", "Say what a faulty image shows"),
        ("wood " * 70, "defect", "but 63 fit the context of 77"),
    ],
)
def test_prompts_that_cannot_be_told_apart_are_refused(bundled, normal, anomalous, said):
    with pytest.raises(ValueError, match=said):
        read_prompts(bundled, normal, anomalous)


def test_a_model_without_tokenizer_keeps_its_prompts():
    model = make_tiny_model()
    detector = Detector(model, FBCLIPProcessor.from_config(model.config))
    assert own_prompts(detector) == ("", "")
    assert read_prompts(detector, "", "") == (None, [])
    with pytest.raises(ValueError, match="has no tokenizer, so it keeps its own prompts"):
        read_prompts(detector, "wood", "wood with defect")
