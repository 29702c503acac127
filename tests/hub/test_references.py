"""What a model remembers is published only if asked for, and gives the same numbers then."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Place


@pytest.fixture
def inspector(fbclip, model_dir, tmp_path) -> Path:
    """A model that remembers three good images."""
    generator = np.random.default_rng(0)
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(90, 130, (40, 48, 3), dtype=np.uint8)).save(tmp_path / name)
    outcome = fbclip(
        "remember", tmp_path / "a", tmp_path / "b", "--model", model_dir, "--output", tmp_path / "inspector"
    )
    assert outcome.status == 0, outcome.err
    return tmp_path / "inspector"


def test_references_are_published_if_asked_for(
    inspector, place: Place, standin, fbclip, synthetic_image, tmp_path
) -> None:
    synthetic_image.save(tmp_path / "photo.png")
    plain = ("--no-overlays", "--no-maps", "--format", "json")

    def row(model: object) -> dict:
        outcome = fbclip("detect", tmp_path / "photo.png", "--model", model, *plain)
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)[0]

    assert fbclip("push", inspector, place.repo("forgets")).status == 0
    repository = standin.repositories.get("model", place.repo("forgets"))
    assert not [name for name in repository.files(repository.branches["main"]) if name.startswith("references.")]
    assert fbclip("push", inspector, place.repo("remembers"), "--with-references").status == 0
    assert row(place.repo("remembers")) == row(inspector)
    assert row(place.repo("forgets"))["score"] != row(inspector)["score"]


def test_folders_of_this_machine_are_not_published(inspector, fbclip, place: Place, tmp_path) -> None:
    arguments = ("--with-references", "--dry-run", "--stage", tmp_path / "staged")
    assert fbclip("push", inspector, place.repo("names"), *arguments).status == 0
    names = json.loads((tmp_path / "staged/model/references.json").read_text())["names"]
    assert names == ["0 1.png", "1 1.png", "2.png"]


def test_a_model_without_references_says_so(model_dir, fbclip, place: Place) -> None:
    outcome = fbclip("push", model_dir, place.repo("none"), "--with-references", "--dry-run")
    assert outcome.status == 2
    assert "references.json" in outcome.err
    assert len(outcome.err.splitlines()) == 1
