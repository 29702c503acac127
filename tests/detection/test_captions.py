"""The line below an overlay: whole, whatever the size of the picture and the name of the file."""

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.detection.captions import with_caption

GREY = (100, 100, 100)


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (200, 150), (3000, 40)])
@pytest.mark.parametrize("name", ["a.png", "x" * 5000, "two\nlines\t.png", "", "Prüfling 部品.jpg"])
def test_the_picture_stays_and_the_line_lies_below_it(size, name):
    picture = Image.new("RGB", size, GREY)
    captioned = with_caption(picture, "0.873 anomalous", name)
    assert captioned.crop((0, 0, *size)).tobytes() == picture.tobytes()
    line = np.asarray(captioned)[size[1] :]
    assert len(line) >= 24
    dark = (line < 128).all(axis=2)
    assert dark.any()
    for edge in (dark[0], dark[-1], dark[:, 0], dark[:, -1]):  # nothing is cut off
        assert not edge.any()


def test_a_long_name_has_no_middle_and_the_verdict_is_whole():
    picture = Image.new("RGB", (400, 50), GREY)
    one, other = (np.asarray(with_caption(picture, "0.100 normal", name)) for name in ("a" * 500, "a" * 400))
    assert (one == other).all()
    verdict_alone = np.asarray(with_caption(picture, "0.100 normal", ""))
    assert (one[:, :80] == verdict_alone[:, :80]).all()
    assert (one != verdict_alone).any()
