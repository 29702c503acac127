"""`load_anomaly_dataset`: lazy reading, streams with the same rows, tables, Hub names, and one-line errors."""

import os
import re
import subprocess
import sys
import zipfile
from io import BytesIO

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from modeling_fbclip.data import load_anomaly_dataset
from modeling_fbclip.data.decoding import read_rgb
from modeling_fbclip.masks_fbclip import load_mask

MARKED = np.eye(8, dtype=np.uint8)


@pytest.fixture
def tables():
    """A data set of photographs, a mask of each kind, and two categories."""
    photographs = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(4)]
    masks = [None, Image.fromarray(MARKED * 0), Image.fromarray(MARKED), Image.fromarray(MARKED * 255)]
    columns = {"photo": photographs, "ground_truth": masks, "category": list("aabb"), "state": list("nnyy")}
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "ground_truth": datasets.Image(),
            "category": datasets.Value("string"),
            "state": datasets.Value("string"),
        }
    )
    return datasets.Dataset.from_dict(columns, features=features)


def test_an_image_is_opened_only_when_its_row_is_read(save):
    root = save("parts", ["good/1.png", "good/2.png"])
    (root / "good/2.png").write_bytes(b"no image")
    for streaming in (False, True):
        dataset = load_anomaly_dataset(root, streaming=streaming)
        assert next(iter(dataset))["image"].size == (8, 8)
    assert list(load_anomaly_dataset(root)["label"]) == [0, 0]


def test_masks_of_every_kind_give_the_same_pixels(save):
    root = save("parts", [f"bad/{kind}.png" for kind in ("binary", "bright", "bits", "palette")] + ["good/1.png"])
    (root / "masks").mkdir()
    palette = Image.fromarray(MARKED, "P")
    palette.putpalette([0, 0, 0, 200, 0, 0])
    Image.fromarray(MARKED).save(root / "masks/binary.png")
    Image.fromarray(MARKED * 255).save(root / "masks/bright.png")
    Image.fromarray(MARKED > 0).save(root / "masks/bits.png")
    palette.save(root / "masks/palette.png")
    dataset = load_anomaly_dataset(root)
    masks = [load_mask(row["mask"]) for row in dataset if row["label"]]
    assert [row["mask"].mode for row in dataset if row["label"]] == ["L", "1", "L", "P"]
    assert len(masks) == 4
    assert all(np.array_equal(mask, MARKED > 0) for mask in masks)


def test_a_stream_has_one_shard_for_each_category(save):
    root = save("line", [f"{name}/{kind}/1.png" for name in "abc" for kind in ("good", "bad")])
    stream = load_anomaly_dataset(root, streaming=True)
    assert isinstance(stream, datasets.IterableDataset)
    assert stream.num_shards == 3
    shards = [stream.shard(num_shards=3, index=index) for index in range(3)]
    assert [[row["category"] for row in shard] for shard in shards] == [["a", "a"], ["b", "b"], ["c", "c"]]
    assert [row["path"] for row in stream] == list(load_anomaly_dataset(root)["path"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", ["parquet", "saved", "saved_splits"])
def test_tables(tables, tmp_path, form, streaming):
    folder = tmp_path / "tables"
    folder.mkdir()
    options = {}
    if form == "parquet":
        tables.to_parquet(folder / "test.parquet")
        options = {"cache_dir": str(tmp_path / "cache")}
    elif form == "saved":
        tables.save_to_disk(folder)
    else:
        datasets.DatasetDict(test=tables).save_to_disk(folder)
    rows = list(load_anomaly_dataset(folder, streaming=streaming, **options))
    place = f"{folder}/test"
    assert [(row["label"], row["category"], row["defect"], row["path"]) for row in rows] == [
        (0, "a", "good", f"{place}[0]"),
        (0, "a", "good", f"{place}[1]"),  # its mask is empty
        (1, "b", "anomaly", f"{place}[2]"),
        (1, "b", "anomaly", f"{place}[3]"),
    ]
    assert [row["image"].getpixel((0, 0))[0] for row in rows] == [0, 1, 2, 3]
    assert [row["mask"] is None for row in rows] == [True, False, False, False]
    chosen = load_anomaly_dataset(folder, category="b", streaming=streaming, **options)
    assert [row["path"] for row in chosen] == [f"{place}[2]", f"{place}[3]"]
    columns = {"label": "state", "normal": "n", "defect": "category"}
    named = load_anomaly_dataset(folder, columns=columns, streaming=streaming, **options)
    assert [row["label"] for row in named] == [0, 0, 1, 1]


def test_labels_may_be_class_names(tables, tmp_path):
    tables = tables.remove_columns(["ground_truth", "state"])
    classes = datasets.ClassLabel(names=["scratched", "good"])
    tables.add_column("label", [1, 0, 1, 0], feature=classes).save_to_disk(tmp_path / "tables")
    dataset = load_anomaly_dataset(tmp_path / "tables")
    assert list(dataset["label"]) == [0, 1, 0, 1]
    assert list(dataset["mask"]) == [None] * 4


def test_a_hub_name_is_passed_to_load_dataset(tables, monkeypatch):
    asked = {}

    def load_dataset(name, **options):
        asked.update(options, name=name)
        return tables

    monkeypatch.setattr("modeling_fbclip.data.columns.load_dataset", load_dataset)
    dataset = load_anomaly_dataset("someone/parts", "validation", revision="v1")
    assert asked == {"name": "someone/parts", "split": "validation", "streaming": False, "revision": "v1"}
    assert next(iter(dataset["path"])) == "someone/parts/validation[0]"


def test_errors_are_one_line(save, tables, tmp_path):
    root = save("parts", ["good/1.png", "bad/1.png"])
    tables.save_to_disk(tmp_path / "tables")
    (tmp_path / "archive.zip").touch()
    tables.select_columns(["category"]).save_to_disk(tmp_path / "texts")
    cases = [
        ((root, "train"), {}, "parts: has no split 'train', but 'test'"),
        ((root,), {"category": ["screw"]}, "parts: has no category 'screw' in 'test', but parts"),
        ((root,), {"revision": "v1"}, "parts: revision cannot be given for a folder of images"),
        ((tmp_path / "nowhere",), {}, "nowhere: no such folder"),
        ((tmp_path / "archive.zip",), {}, "archive.zip: is a file; unpack it"),
        (("visa",), {}, "visa: is not downloaded automatically; get VisA from https://"),
        (("someone/parts",), {"layout": "visa"}, "layout='visa' is for folders"),
        ((tmp_path / "tables", "train"), {}, "tables: cannot be loaded (has no split 'train', but 'test')"),
        ((tmp_path / "tables",), {"columns": {"mask": "no"}}, "columns={'mask': 'no'}, but it has photo, "),
        ((tmp_path / "tables",), {"category": "screw"}, "tables: has no category 'screw' in 'test', but a, b"),
        ((tmp_path / "texts",), {}, "texts: has no column of images; its columns are category"),
    ]
    for arguments, options, said in cases:
        with pytest.raises(ValueError, match=re.escape(said)) as raised:
            load_anomaly_dataset(*arguments, **options)
        assert "\n" not in str(raised.value)


def test_an_error_in_tables_is_one_line(tables, tmp_path):
    for name in ("other", "cut"):
        folder = tmp_path / name
        folder.mkdir()
        tables.to_parquet(folder / "test-0.parquet")
        tables.add_column("size", [1, 2, 3, 4]).to_parquet(folder / "test-1.parquet")
        if name == "cut":
            os.truncate(folder / "test-1.parquet", 500)
        with pytest.raises(ValueError, match=rf"{name}: cannot be loaded \(.+\)\.$") as raised:
            load_anomaly_dataset(folder, cache_dir=str(tmp_path / "cache"))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("with_path", [False, True])
def test_tables_of_other_libraries_hold_the_bytes_of_files(tmp_path, streaming, with_path):
    file = BytesIO()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(file, "PNG")
    picture = {"bytes": file.getvalue(), "path": "1.png"} if with_path else file.getvalue()
    table = pa.table({"image": [picture] * 2, "label": ["good", "bad"]})
    parquet.write_table(table, tmp_path / "test.parquet")
    found = list(load_anomaly_dataset(tmp_path, streaming=streaming, cache_dir=str(tmp_path / "cache")))
    assert [(row["label"], np.asarray(row["image"]).tolist()) for row in found] == [
        (label, np.eye(8).tolist()) for label in (0, 1)
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_file_name_that_is_not_valid_text_is_an_error(save, streaming):
    root = save("parts", ["good/1.png"])
    try:
        (root / "good/1.png").rename(root / "good" / os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes text only")
    with pytest.raises(ValueError, match=r"caf.udce9\.png': the name is not valid text; rename the file"):
        list(load_anomaly_dataset(root, streaming=streaming))


def test_without_the_datasets_library_the_error_has_an_install_command(save, monkeypatch):
    root = save("parts", ["good/1.png"])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'modeling-fbclip\[train\]'"):
        load_anomaly_dataset(root)


def test_the_package_and_its_command_do_not_import_datasets():
    code = (
        "import sys, modeling_fbclip, modeling_fbclip.cli.__main__, modeling_fbclip.data; "
        "sys.exit('datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "feature", "unknown"),
    [
        ("label", datasets.Value("int64"), None),
        ("label", datasets.Value("int64"), -1),
        ("label", datasets.Value("float64"), float("nan")),
        ("label", datasets.ClassLabel(names=["good", "bad"]), -1),
        ("label", datasets.ClassLabel(names=["good", "bad"]), None),
        ("defect", datasets.Value("string"), None),
    ],
)
def test_a_row_without_label_is_an_error_with_its_name(tables, tmp_path, name, feature, unknown, streaming):
    tables = tables.remove_columns(["ground_truth", "state"])
    known = "good" if name == "defect" else 0
    tables.add_column(name, [known, known, unknown, known], feature=feature).save_to_disk(tmp_path / "tables")
    with pytest.raises(ValueError, match=rf"tables/test\[2\]: has no label, its '{name}' is {unknown};"):
        list(load_anomaly_dataset(tmp_path / "tables", streaming=streaming))


def test_an_unknown_kind_of_defect_is_called_anomaly(tables, tmp_path):
    kinds = datasets.ClassLabel(names=["good", "cut"])
    tables = tables.add_column("label", [0, 0, 1, 1]).add_column("defect", [0, None, 1, None], feature=kinds)
    tables.save_to_disk(tmp_path / "tables")
    assert list(load_anomaly_dataset(tmp_path / "tables")["defect"]) == ["good", "good", "cut", "anomaly"]


def test_rows_are_listed_despite_a_damaged_mask_in_a_table(tables, tmp_path):
    rows = tables.cast_column("ground_truth", datasets.Image(decode=False)).to_list()
    rows[1]["ground_truth"]["bytes"] = b"no mask"
    datasets.Dataset.from_list(rows, features=tables.features).save_to_disk(tmp_path / "tables")
    assert list(load_anomaly_dataset(tmp_path / "tables")["label"]) == [0, 1, 1, 1]


def test_a_streamed_file_is_read_through_its_url(save, tmp_path):
    image = save("parts", ["1.png"]) / "1.png"
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
        archive.write(image, "1.png")
    value = {"path": f"zip://1.png::{tmp_path}/parts.zip", "bytes": None}
    assert read_rgb(value, "1").tobytes() == Image.open(image).tobytes()
