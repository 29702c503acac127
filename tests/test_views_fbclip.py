"""Which views of an image the model sees, and which settings are refused."""

import re

import pytest

from modeling_fbclip.views_fbclip import View, Viewing


def test_an_image_is_seen_whole_and_squashed_by_default():
    viewing = Viewing((256, 256), 8)
    assert viewing.views((3000, 4000)) == [View((0, 0, 4000, 3000), (256, 256))]
    assert viewing.mode((3000, 4000)) == "256x256 pixels"


@pytest.mark.parametrize(
    ("size", "seen"),
    [((3000, 4000), (192, 256)), ((4000, 3000), (256, 192)), ((100, 100), (256, 256)), ((10, 4000), (16, 256))],
)
def test_an_image_that_keeps_its_aspect_has_sides_of_whole_patches(size, seen):
    viewing = Viewing((256, 256), 8, keep_aspect=True)
    assert viewing.views(size) == [View((0, 0, size[1], size[0]), seen)]
    assert viewing.mode(size) == "256x256 pixels, aspect kept"


def test_auto_cuts_images_of_more_than_one_and_a_half_times_the_models_size():
    viewing = Viewing((256, 256), 8, tile="auto")
    assert viewing.views((384, 384)) == [View((0, 0, 384, 384), (256, 256))]
    whole, *tiles = viewing.views((384, 640))
    assert whole == View((0, 0, 640, 384), (152, 256))
    assert [tile.box for tile in tiles] == [(x, y, x + 256, y + 256) for y in (0, 128) for x in (0, 192, 384)]
    assert {tile.size for tile in tiles} == {(256, 256)}
    assert viewing.mode((384, 640)) == "256x256 pixels in tiles of 256 that overlap by 32"
    assert viewing.mode((384, 384)) == "256x256 pixels"


def test_nine_tiles_of_a_circuit_board_of_640_pixels():
    assert len(Viewing((256, 256), 8, tile="auto").views((640, 640))) == 10


def test_tiles_of_another_size_are_resized_and_short_images_are_not_padded():
    viewing = Viewing((256, 256), 8, tile=512, overlap=100)
    views = viewing.views((300, 1200))
    assert views[0] == View((0, 0, 1200, 300), (64, 256))
    assert [view.box for view in views[1:]] == [(x, 0, x + 512, 300) for x in (0, 229, 459, 688)]
    assert {view.size for view in views[1:]} == {(152, 256)}
    assert viewing.views((512, 400)) == [View((0, 0, 400, 512), (256, 256))]  # one tile would be the whole


def test_an_image_as_high_as_two_overlaps_is_cut_along_its_length():
    views = Viewing((256, 256), 8, tile="auto").views((64, 600))
    assert [view.box for view in views[1:]] == [(x, 0, x + 256, 64) for x in (0, 172, 344)]


def test_tiles_have_the_shape_that_the_model_sees():
    views = Viewing((128, 256), 8, tile="auto").views((500, 500))
    assert {(view.box[3] - view.box[1], view.box[2] - view.box[0]) for view in views[1:]} == {(128, 256)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 0}, "`tile` is 0, but must be a number of pixels"),
        ({"tile": "large"}, "`tile` is 'large'"),
        ({"tile": True}, "`tile` is True"),
        ({"tile": 15}, "`tile` is 15, which is too small; take 16 pixels or more"),
        ({"overlap": 32.5}, "`overlap` is 32.5, but must be a whole number"),
        ({"tile": "auto", "overlap": "x"}, "`overlap` is 'x'"),
        ({"tile": 256, "overlap": 7}, "`overlap` is 7, but must be from 8 (a patch) to 127 pixels"),
        ({"tile": "auto", "overlap": 128}, "`overlap` is 128"),
        ({"tile": 512, "overlap": 15}, "must be from 16 (a patch) to 255 pixels"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _ = Viewing((256, 256), 8, **settings).tiles
