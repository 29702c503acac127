"""Data sets of one product: pieces that are alike, defects that their masks show, the same files again."""

import sys

import numpy as np
import pytest

from modeling_fbclip.data import load_anomaly_dataset
from recipe import products


@pytest.mark.parametrize("name", [*products.JUDGING, *products.CHOOSING])
def test_pieces_of_a_product_are_alike_and_not_the_same(name):
    good = np.stack([photo.pixels for photo in products.photographs(name, 8, 0, 64, seed=0)]).astype(float)
    assert (np.abs(good - np.roll(good, 1, axis=0)).mean((1, 2, 3)) > 1).all()
    tones = good.mean((1, 2))
    assert tones.std(axis=0).max() < 15
    others = [next(products.photographs(name, 1, 0, 64, seed)).pixels.mean((0, 1)) for seed in range(8)]
    assert np.std(others, axis=0).max() > 2 * tones.std(axis=0).max()


@pytest.mark.parametrize("name", [*products.JUDGING, "plastic"])
def test_masks_show_the_defects(name):
    found = list(products.photographs(name, 3, 10, 64, seed=0))
    assert [photo.mask.any() for photo in found] == [photo.kind != products.GOOD for photo in found]
    assert [photo.kind for photo in found[:3]] == ["good"] * 3
    assert 2 < len({photo.kind for photo in found[3:]}) <= products.KINDS_EACH
    assert max(photo.mask.mean() for photo in found) < 0.7


def test_the_same_arguments_give_the_same_files(tmp_path):
    for folder in ("first", "again"):
        products.write(tmp_path / folder / "cloth", "cloth", 4, 6, 64, seed=0)
    files = [path.relative_to(tmp_path / "first") for path in sorted((tmp_path / "first").rglob("*.png"))]
    assert len(files) == 4 + 2 * 6
    assert all((tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)
    rows = load_anomaly_dataset(tmp_path / "first" / "cloth")
    assert sorted(rows["label"]) == [0] * 4 + [1] * 6
    assert [mask is not None for mask in rows["mask"]] == [bool(label) for label in rows["label"]]
    assert set(rows["category"]) == {"part"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "8"], "--size 8: must be 32 or more."),
        (["--products", "cheese"], "invalid choice: 'cheese'"),
        ([], "is not empty; choose another folder."),
    ],
)
def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "cast_metal").mkdir()
    (tmp_path / "cast_metal" / "mine").touch()
    monkeypatch.setattr(sys, "argv", ["products", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as left:
        products.main()
    assert left.value.code == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["cast_metal", "mine"]
