"""The split that a command reads: for training if it has what is needed, else for the test."""

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.data import load_fitting_split


@pytest.fixture
def data(tmp_path):
    """MVTec's layout: good images for training, good and bent ones for the test."""
    for index, place in enumerate(("train/good", "test/good", "test/bent")):
        folder = tmp_path / "cap" / place
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), index, np.uint8)).save(folder / "0.png")
    return tmp_path


@pytest.mark.parametrize(("labels", "split"), [((0,), "train"), ((0, 1), "test"), ((1,), "test")])
def test_the_split_for_training_is_taken_if_it_has_the_labels(data, labels, split):
    chosen = load_fitting_split(str(data), labels)
    assert (chosen.split, chosen.layout, chosen.hub_id) == (split, None, None)
    assert set(chosen.dataset["label"]) >= set(labels)


def test_a_named_split_is_taken_whatever_it_has(data):
    chosen = load_fitting_split(str(data), (0,), split="test")
    assert (chosen.split, sorted(chosen.dataset["label"])) == ("test", [0, 1])


def test_a_data_set_without_a_split_for_training_gives_the_test(data):
    (data / "cap/train").rename(data / "unused")
    assert load_fitting_split(str(data / "cap"), (0,)).split == "test"


def test_a_mistake_is_that_of_the_test(data):
    with pytest.raises(ValueError, match="has no category 'nut' in 'test', but cap"):
        load_fitting_split(str(data), (0,), category=["nut"])


def test_images_in_a_folder_without_a_data_set_are_good_ones(data):
    folder = data / "cap/test/bent"
    dataset, *rest = load_fitting_split(str(folder), (0,))
    assert (dataset["label"], rest) == ([0], ["test", "good-only", None])
    with pytest.raises(ValueError, match="no data set found"):
        load_fitting_split(str(folder), (0,), columns={"image": "photo"})
