"""Which names show that images are of one source."""

import pytest

from modeling_fbclip.training.image_sources import image_sources


def named(*patterns):
    """Thirty names of each pattern: `{n}` counts on, `{s}` is the same for three images."""
    return [pattern.format(n=number, s=number // 3) for pattern in patterns for number in range(30)]


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        ("lot{s}_view{n}.png", "lot0"),
        ("patient{s}-slice{n:02}.png", "patient0"),
        ("scans/P{s} {n}.png", "P0"),
        ("C:\\scans\\part.{s}.{n}.png", "part.0"),
        ("board_{s}_crop_{n}.jpg", "board_0_crop"),
        ("{s}-{n}.png", "0"),
        ("data/kos{s:02}/Part{n}.jpg", "kos00"),
        ("patient_{s}/slice_{n}.png", "patient_0"),
    ],
)
def test_names_that_show_a_source(pattern, source):
    for labels in ([0] * 30, [0, 1] * 15):
        sources = image_sources(named(pattern), labels)
        assert len(set(sources)) == 10
        assert sources[:3] == [source] * 3


@pytest.mark.parametrize(
    "pattern",
    [
        "{n:03}.png",
        "img_{n}.png",
        "IMG_{n:04}.jpg",
        "{n} no.jpg",
        "no {n}.jpg",
        "Y{n}.png",
        "1 ({n}).jpg",
        "tile/good/{n:03}.png",
        "cam1_{n}.png",
        "2024-01-{n}.png",
        "{n}_mask.png",
        "part{n}/photo.png",  # a folder for each image
        "good/lot{n}_1.png",  # an image of each
        "defect3/{n}.png",
        "",
    ],
)
def test_plain_counting_shows_no_source(pattern):
    assert set(image_sources(named(pattern), [0, 1] * 15)) == {None}


def test_numbered_kinds_of_defects_are_no_sources():
    names = [f"good/ok_{number}.png" for number in range(30)]
    names += [f"bad/fault{number % 6}_{number}.png" for number in range(30)]
    assert set(image_sources(names, [0] * 30 + [1] * 30)) == {None}
    folders = [f"type{number % 6}/{number}.png" for number in range(30)]
    assert set(image_sources(folders, [0, 1] * 15, {f"type{number}" for number in range(6)})) == {None}
