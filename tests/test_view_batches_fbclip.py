"""Views in batches: of one size, filled by several images, and no more images held than there is room for."""

import torch

from modeling_fbclip import view_batches_fbclip
from modeling_fbclip.view_batches_fbclip import ViewBatches
from modeling_fbclip.views_fbclip import Viewing

VIEWING = Viewing((32, 32), 8, tile=32, overlap=8)
PLANS = [VIEWING.views((40, 40)), VIEWING.views((20, 20)), VIEWING.views((64, 40))]


def run_all(batch_size):
    """The batches that were run, what was told, and the outputs of each image."""
    batches, told = [], []

    def run(batch):
        batches.append(batch)
        return [{"image_scores": torch.tensor([10 * image + place])} for image, place in batch]

    found = list(ViewBatches(run, batch_size, lambda *counts: told.append(counts))(enumerate(PLANS)))
    return batches, told, [[int(outputs["image_scores"]) for outputs in views] for views in found]


def test_views_of_several_images_fill_batches_of_one_size():
    batches, told, found = run_all(4)
    sizes = [{PLANS[image][place].size for image, place in batch} for batch in batches]
    assert all(len(size) == 1 for size in sizes)
    assert [len(batch) for batch in batches] == [4, 4, 4, 1]
    assert batches[1] == [(0, 4), (1, 0), (2, 1), (2, 2)]
    assert found == [[10 * image + place for place in range(len(plan))] for image, plan in enumerate(PLANS)]
    assert told == [(4, 5), (8, 13), (12, 13), (13, 13)]


def test_large_images_do_not_wait_for_others(monkeypatch):
    monkeypatch.setattr(view_batches_fbclip, "MOST_PIXELS", 1000)  # the second alone has fewer
    batches, _, found = run_all(4)
    assert [[image for image, _ in batch] for batch in batches] == [[0] * 4, [0], [1, 2, 2, 2], [2], [2] * 3]
    assert found == run_all(1)[2]
