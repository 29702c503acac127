"""Shares of several processes, and the rows that earlier runs have left."""

import json
import tracemalloc
from collections import Counter

import pytest
from datasets import Dataset, IterableDataset
from PIL import Image

from modeling_fbclip.detection import row_files, sources
from modeling_fbclip.detection.image_finder import ImageFinder
from modeling_fbclip.detection.processes import Processes


def _numbers(files):
    for file in files:
        for index in range(5):
            number = 10 * file + index
            yield {"image": None, "path": f"set/test[{number}]", "category": "x"}


@pytest.mark.parametrize("kind", ["files", "table", "stream", "single stream"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_shares_are_disjoint_ascending_and_in_batches_of_one_process(kind, size, tmp_path):
    if kind == "files":
        for index in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
        finder = ImageFinder(False, tmp_path / "outputs")
        batches = sources.open_images([str(tmp_path)], finder, None, 3).batches
    elif kind == "table":
        rows = Dataset.from_list(list(_numbers([0, 1])))

        def batches(processes):
            return sources.table_batches(rows, 3, processes)
    else:
        files = [0, 1, 2, 3] if kind == "stream" else [0]
        stream = IterableDataset.from_generator(_numbers, gen_kwargs={"files": files})

        def batches(processes):
            return sources.stream_batches(stream, 3, processes)

    def keys(processes):
        return [[(item.shard, item.position, item.path) for item in batch] for batch in batches(processes)]

    whole = keys(Processes())
    shares = [keys(Processes(rank, size)) for rank in range(size)]
    assert all(share == sorted(share) for share in shares)
    assert sorted(batch for share in shares for batch in share) == whole
    paths = [path for batch in whole for _, _, path in batch]
    assert len(set(paths)) == len(paths) == (20 if kind == "stream" else 5 if kind == "single stream" else 10)


def test_rows_that_are_done_are_read_one_at_a_time(tmp_path):
    count = 30_000
    for rank in range(2):
        with (tmp_path / f"rows-0000{rank}-of-00002.jsonl").open("w") as file:
            for index in range(rank, count, 2):
                print(
                    json.dumps({"shard": 0, "index": index, "path": f"{index}.png", "label": "normal", "error": None}),
                    file=file,
                )
    items = (sources.Item(0, index, f"{index}.png", None, lambda: None) for index in range(count + 1))
    tracemalloc.start()
    done = row_files.RowFolder(tmp_path, Processes()).done()
    labels = Counter(map(done.outcome, items))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert labels == {("normal",): count, None: 1}
    assert peak < 500_000  # 6 MB of rows
