"""Folder trees of random names, for `make fuzz`."""

import os
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

WORDS = (
    *("good", "OK", "NG", "bad", "no", "yes", "test", "Train", "validation", "test_public", "ground_truth", "mask"),
    *("masks", "images", "Label", "kos01", "split_csv", "head_ct", "realiad_jsons", "realiad_1024", "a b", "ß#1"),
    *("100%", "line\nbreak", ".hidden", "__MACOSX", "-x", "[1]", "漆"),
)
STEMS = (
    *("0", "1", "0_mask", "0_GT", "mask_0", "0_label", "Part0", "a.png", "metadata", "labels", "meta", "1cls", ".x"),
    "é\n",
)
SUFFIXES = (".png", ".PNG", ".jpg", ".bmp", ".txt", ".json", ".csv", ".tsv", ".jsonl", ".png.map.png", "")
TEXTS = (
    *("", "{", "[]", "0,1\n", "no image", "file_name,label\n0.png,good\n", "file_name;label\n../x;1\n", "\x00\xff"),
    '{"test": {"a": [{"img_path": "0.png", "mask_path": "", "anomaly": 1, "specie_name": ""}]}}',
    *(
        "image\tlabel\n0.png\t2",
        "object,split\na,test\n",
        "id, hemorrhage\n0, 1\n",
        "image,defect\n0.png,cut\n1.png,\n",
    ),
    *(
        '{"images": [{"id": [1], "file_name": "0.png"}], "annotations": [{}], "categories": []}',
        '{"file_name": "0.png"}',
    ),
    '{"imagePath": "0.png", "shapes": [{"points": [[0]]}], "imageWidth": 9, "imageHeight": "x"}',
    '{"meta": {}, "train": 3, "test": []}',
)
FILES = st.tuples(
    st.lists(st.sampled_from(WORDS), max_size=4), st.sampled_from(STEMS), st.sampled_from(SUFFIXES), st.integers(0, 30)
)
LINKS = st.tuples(st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), max_size=2))
TREES = st.tuples(st.lists(FILES, max_size=12), st.lists(LINKS, max_size=2))


def plant(root: Path, tree: tuple[list[Any], list[Any]]) -> None:
    """Makes the files of a tree: pictures and texts under names of images and of lists. Names in the way are left."""
    files, links = tree
    for folders, stem, suffix, content in files:
        try:
            folder = root.joinpath(*folders)
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{stem}{suffix}"
            if content < len(TEXTS):
                file.write_text(TEXTS[content], encoding="utf-8")
            else:
                Image.new("L", (4, 4), content * 8).save(file, "PNG")
        except OSError:
            continue
    for name, target in links:
        if not os.path.lexists(root / name):
            (root / name).symlink_to(root.joinpath(*target))
