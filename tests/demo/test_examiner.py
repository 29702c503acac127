"""The examiner: references of a page go with it."""

import gc
import io
import weakref

import pytest
from modeling_fbclip.demo import examiner as module
from modeling_fbclip.demo.examiner import Examiner
from modeling_fbclip.demo.models import BUNDLED, Models
from modeling_fbclip.demo.photos import Photo, PhotoSet
from modeling_fbclip.demo.settings import Side
from PIL import Image

from .conftest import EXAMPLES


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    return Examiner(Models())


def photo(name: str, size: int) -> Photo:
    stream = io.BytesIO()
    Image.open(EXAMPLES / name).resize((size, size)).save(stream, "PNG")
    return Photo(name, stream.getvalue())


def test_references_are_made_once_kept_for_the_last_sets_and_go_with_their_page(examiner, monkeypatch):
    monkeypatch.setattr(module, "MAX_REFERENCES", 2)
    good = [PhotoSet([photo("wood_good.jpg", 64)]) for _ in range(3)]
    first = examiner.references(BUNDLED, good[0], tiles=False)
    assert examiner.references(BUNDLED, good[0], tiles=False) is first
    for one in good[1:]:
        examiner.references(BUNDLED, one, tiles=False)
    assert [len(one.made) for one in good] == [0, 1, 1]
    made = weakref.ref(good[1].made[BUNDLED, False, False])
    del good[1], one
    gc.collect()
    assert made() is None


def test_a_large_image_has_a_bounded_number_of_tiles(examiner, monkeypatch):
    monkeypatch.setattr(module, "MAX_VIEWS", 5)
    finding = examiner.find(photo("wood_scratch.jpg", 1200), Side(BUNDLED), tiles=True)
    assert 1 < len(finding.outputs) <= 5
    assert finding.result()["anomaly_map"].shape == (1200, 1200)
    assert finding.notes[0].startswith(f"Seen in {len(finding.outputs) - 1} tiles too.")


def test_other_prompts_are_not_used_with_references(examiner):
    good = PhotoSet([photo("wood_good.jpg", 64)])
    references = examiner.references(BUNDLED, good, tiles=False)
    plain = examiner.find(photo("wood_scratch.jpg", 64), Side(BUNDLED), references=references)
    asked = Side(BUNDLED, "wood without defect", "wood with defect")
    finding = examiner.find(photo("wood_scratch.jpg", 64), asked, references=references)
    assert (finding.score, finding.notes) == (plain.score, [module.OWN_PROMPTS])


def test_tiles_without_thresholds_of_their_own_say_so(examiner, monkeypatch):
    monkeypatch.setattr(module, "MAX_VIEWS", 5)
    large = examiner.find(photo("wood_scratch.jpg", 1200), Side(BUNDLED), tiles=True)
    assert module.NO_THRESHOLDS_IN_TILES in large.notes[0]
    monkeypatch.setattr(module, "MAX_VIEWS", 65)
    nine = examiner.find(photo("wood_scratch.jpg", 400), Side(BUNDLED), tiles=True)
    assert "The model's own thresholds are then 0.695" in nine.notes[0]
