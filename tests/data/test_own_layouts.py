"""Layouts of later benchmarks and of users' own folders: files, masks, labels, kinds and splits."""

import json
import shutil
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import datasets
import nibabel
import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.data import check_anomaly_dataset, load_anomaly_dataset
from modeling_fbclip.data.check import Count
from modeling_fbclip.data.layouts import recognise
from modeling_fbclip.masks_fbclip import load_mask


def layout_of(root):
    return recognise(root).layout.name


def marked(row):
    """The positions of a row's anomalous pixels."""
    return [tuple(place) for place in np.argwhere(load_mask(row["mask"]) == 1).tolist()]


def test_mvtec_loco(save):
    images = [f"juice/{place}" for place in ("train/good/0.png", "validation/good/0.png", "test/good/0.png")]
    images += ["juice/test/logical_anomalies/000.png", "juice/test/structural_anomalies/001.png"]
    root = save("loco", images)
    truth = root / "juice/ground_truth"
    for name, value, column in (("logical_anomalies/000/000", 236, 1), ("logical_anomalies/000/001", 237, 4)):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[2, column] = value
        (truth / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(truth / f"{name}.png")
    (truth / "structural_anomalies/001").mkdir(parents=True)
    shutil.copy(truth / "logical_anomalies/000/000.png", truth / "structural_anomalies/001/000.png")
    assert layout_of(root) == "mvtec-loco"
    good, logical, structural = load_anomaly_dataset(root).sort("label")
    assert (good["label"], good["mask"], good["defect"]) == (0, None, "good")
    assert (logical["defect"], marked(logical)) == ("logical_anomalies", [(2, 1), (2, 4)])
    assert (structural["defect"], marked(structural)) == ("structural_anomalies", [(2, 1)])
    assert [len(load_anomaly_dataset(root, split)) for split in ("train", "validation")] == [1, 1]
    (root / "juice/defects_config.json").write_text("[]")
    findings = check_anomaly_dataset(root)
    assert (findings.oddities, findings.left_out) == ([], {"without an image's suffix": 1})


def test_mvtec_ad_2(save, rows):
    public = ["can/test_public/bad/000.png", "can/test_public/good/000.png"]
    others = [f"can/{place}/000.png" for place in ("train/good", "validation/good", "test_private")]
    root = save(
        "ad2", [*public, *others, "can/test_private_mixed/000.png"], ["can/test_public/ground_truth/bad/000_mask.png"]
    )
    assert layout_of(root) == "mvtec-ad-2"
    assert rows(root) == [
        (public[0], "can/test_public/ground_truth/bad/000_mask.png", 1, "can", "bad"),
        (public[1], None, 0, "can", "good"),
    ]
    assert rows(root, "validation") == [("can/validation/good/000.png", None, 0, "can", "good")]
    assert rows(root, "train") == [("can/train/good/000.png", None, 0, "can", "good")]
    findings = check_anomaly_dataset(root)
    assert findings.oddities == []
    assert findings.left_out == {"of a private test, without labels": 2}


def test_nested_kinds_and_names_in_any_case(save, rows):
    root = save(
        "own",
        ["OK/lot1/1.png", "OK/2.png", "NG/crack/3.PNG", "NG/Colour/4.png", "NG/5.png"],
        ["Mask/crack/3_MASK.png", "Mask/NG/Colour/mask_4.png", "Mask/5-gt.png"],
    )
    assert layout_of(root) == "plain"
    assert rows(root) == [
        ("NG/5.png", "Mask/5-gt.png", 1, "own", "NG"),
        ("NG/Colour/4.png", "Mask/NG/Colour/mask_4.png", 1, "own", "Colour"),
        ("NG/crack/3.PNG", "Mask/crack/3_MASK.png", 1, "own", "crack"),
        ("OK/2.png", None, 0, "own", "good"),
        ("OK/lot1/1.png", None, 0, "own", "good"),
    ]
    capital = save("capital", ["Test/Good/0.png", "Test/Bad/IMG_1.png"], ["Ground_Truth/bad/img_1_Mask.PNG"])
    assert rows(capital) == [
        ("Test/Bad/IMG_1.png", "Ground_Truth/bad/img_1_Mask.PNG", 1, "capital", "Bad"),
        ("Test/Good/0.png", None, 0, "capital", "good"),
    ]


@pytest.mark.parametrize("name", ["0_mask", "0-mask", "0_GT", "0_gt", "0_seg", "mask_0", "0_Label"])
def test_masks_beside_images(save, rows, name):
    root = save("kinds", ["good/0.png", "bad/0.png", "bad/1.png"], [f"bad/{name}.png"])
    assert rows(root) == [
        ("bad/0.png", f"bad/{name}.png", 1, "kinds", "bad"),
        ("bad/1.png", None, 1, "kinds", "bad"),
        ("good/0.png", None, 0, "kinds", "good"),
    ]
    flat = save("flat", ["0.png", "1.png", "2.png"], [f"{name}.png"], [f"{name.replace('0', '1')}.png"])
    assert layout_of(flat) == "beside"
    assert rows(flat) == [
        ("0.png", f"{name}.png", 1, "flat", "anomaly"),
        ("1.png", f"{name.replace('0', '1')}.png", 0, "flat", "good"),
        ("2.png", None, 0, "flat", "good"),
    ]


def test_exact_names_come_before_names_of_another_case(save, rows):
    root = save("set", ["good/1.png", "bad/a.png", "bad/A.png"], ["mask/bad/a.png", "mask/bad/A.png"])
    if len(list((root / "bad").iterdir())) == 1:
        pytest.skip("this file system does not tell A from a")
    assert [row[:2] for row in rows(root)[:2]] == [("bad/A.png", "mask/bad/A.png"), ("bad/a.png", "mask/bad/a.png")]


def test_linked_folders_are_read_once(save, rows, tmp_path):
    root = save("set", ["good/1.png", "bad/2.png"])
    save("store", ["3.png"])
    (root / "again").symlink_to(root / "bad", target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "bad/loop").symlink_to(root, target_is_directory=True)
    (root / "rust").symlink_to(tmp_path / "store", target_is_directory=True)
    assert [row[0] for row in rows(root)] == ["bad/2.png", "good/1.png", "rust/3.png"]
    findings = check_anomaly_dataset(root)
    assert (findings.oddities, findings.left_out) == ([], {"linked folders that were walked already": 3})


def write_labelme(file, *shapes):
    described = [{"label": label, "shape_type": kind, "points": points} for label, kind, points in shapes]
    content = {"imagePath": "x.png", "imageWidth": 8, "imageHeight": 8, "shapes": described}
    file.write_text(json.dumps(content))


def test_labelme(save):
    root = save("set", ["a.png", "b.png", "c.png", "d.png"])
    write_labelme(root / "a.json", ("cut", "polygon", [[1, 1], [3, 1], [3, 2], [1, 2]]))
    write_labelme(root / "b.json", ("dent", "rectangle", [[6, 7], [5, 6]]), ("cut", "point", [[0, 0]]))
    write_labelme(root / "c.json")
    assert layout_of(root) == "labelme"
    found = load_anomaly_dataset(root)
    assert [(row["label"], row["defect"]) for row in found] == [(1, "cut"), (1, "dent+cut"), (0, "good"), (0, "good")]
    assert marked(found[0]) == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert marked(found[1]) == [(0, 0), (6, 5), (6, 6), (7, 5), (7, 6)]
    assert (check_anomaly_dataset(root).oddities, check_anomaly_dataset(root).left_out) == ([], {})
    plain = save("plain", ["good/1.png", "bad/2.png"])
    write_labelme(plain / "bad/2.json", ("cut", "circle", [[4, 4], [5, 4]]))
    assert (4, 4) in marked(load_anomaly_dataset(plain)[0])
    (plain / "bad/2.json").write_text('{"imagePath": "2.png", "shapes": [3]}')
    with pytest.raises(ValueError, match=r"2\.json: a region cannot be drawn \(.*\); correct the file\."):
        load_anomaly_dataset(plain)


def test_labelme_masks_and_regions_of_normal_parts(save):
    root = save("set", ["a.png", "b.png"])
    stroke = BytesIO()
    Image.fromarray(np.array([[255, 0], [0, 255]], np.uint8)).save(stroke, "PNG")
    box = {"label": "cut", "shape_type": "mask", "points": [[2, 1], [3, 2]]}
    box["mask"] = b64encode(stroke.getvalue()).decode()
    part = {"label": "good", "shape_type": "rectangle", "points": [[5, 5], [7, 7]]}
    for name, shapes in (("a", [box, part]), ("b", [part])):
        content = {"imagePath": f"{name}.png", "imageWidth": 8, "imageHeight": 8, "shapes": shapes}
        (root / f"{name}.json").write_text(json.dumps(content))
    a, b = load_anomaly_dataset(root)
    assert (a["label"], a["defect"], marked(a)) == (1, "cut", [(1, 2), (2, 3)])
    assert (b["label"], b["defect"], b["mask"]) == (0, "good", None)


def write_coco(file, names, annotations):
    images = [{"id": i, "file_name": name, "width": 8, "height": 8} for i, name in enumerate(names)]
    categories = [{"id": 1, "name": "scratch"}, {"id": 2, "name": "good"}]
    annotations = [{"image_id": i, "category_id": kind, "segmentation": region} for i, kind, region in annotations]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def test_coco(save):
    root = save("set", ["train/0.png", "images/1.png", "images/2.png", "images/3.png"])
    write_coco(root / "train/_annotations.coco.json", ["0.png"], [])
    regions = [
        (0, 1, [[1, 1, 2, 1, 2, 3, 1, 3]]),
        (0, 1, {"counts": [0, 1, 63], "size": [8, 8]}),
        (1, 2, []),
        (2, 1, []),
    ]
    write_coco(root / "annotations/instances_default.json", ["1.png", "2.png", "3.png"], regions)
    assert layout_of(root) == "coco"
    assert [row["label"] for row in load_anomaly_dataset(root, "train")] == [0]
    first, second, third = load_anomaly_dataset(root)
    assert (first["defect"], marked(first)) == ("scratch", [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)])
    assert (second["label"], third["label"], third["mask"]) == (0, 1, None)
    assert [oddity.problem for oddity in check_anomaly_dataset(root).oddities] == ["anomalous, but has no mask"]
    write_coco(root / "annotations/instances_default.json", ["1.png"], [(0, 1, {"counts": "a1", "size": [8, 8]})])
    with pytest.raises((ImportError, ValueError), match=r"instances_default\.json: "):
        load_anomaly_dataset(root)
    write_coco(root / "annotations/instances_default.json", ["../../secret.png"], [])
    with pytest.raises(ValueError, match="leads out of"):
        load_anomaly_dataset(root)


def test_coco_folders_of_a_split(save, rows):
    root = save("set", ["train2017/0.png", "images/val2017/1.png"])
    for place in ("train2017", "val2017"):
        write_coco(root / f"annotations/instances_{place}.json", [f"{int(place < 'v') ^ 1}.png"], [])
    assert [row[0] for row in rows(root, "train")] == ["train2017/0.png"]
    assert [row[0] for row in rows(root, "validation")] == ["images/val2017/1.png"]
    assert check_anomaly_dataset(root).oddities == []


def test_compressed_run_lengths_without_the_library_are_one_line(save, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    root = save("set", ["1.png"])
    write_coco(root / "coco.json", ["1.png"], [(0, 1, {"counts": "PPYo0", "size": [8, 8]})])
    with pytest.raises(ValueError, match=r"coco\.json: its compressed run lengths need a library: pip install"):
        load_anomaly_dataset(root)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_of_spreadsheets(save, encoding):
    root = save("set", ["Stück 1.png", "Stück 2.png"])
    text = "Image;Label;Kosten in €\nStück 1.png;Good;1\nStück 2.png;Bad;2\n"
    (root / "parts.csv").write_text(text, encoding=encoding)
    assert [(Path(row["path"]).name, row["label"]) for row in load_anomaly_dataset(root)] == [
        ("Stück 1.png", 0),
        ("Stück 2.png", 1),
    ]


def test_a_table_without_known_columns_is_named(save):
    root = save("set", ["1.png"])
    (root / "parts.csv").write_text("photo,quality\n1.png,A\n")
    with pytest.raises(ValueError, match=r"columns: .*parts\.csv: photo, quality; say which is which by columns"):
        load_anomaly_dataset(root)


@pytest.mark.parametrize("name", ["bad_mask", "bad-GT", "mask_bad"])
def test_a_folder_of_masks_beside_its_images(save, rows, name):
    root = save("set", ["good/0.png", "bad/1.png"], [f"{name}/1.png"])
    assert rows(root)[0] == ("bad/1.png", f"{name}/1.png", 1, "set", "bad")
    mvtec = save("mvtec", ["test/good/0.png", "test/bad/1.png"], [f"test/{name}/1.png"])
    assert len(rows(mvtec)) == 2
    (odd,) = check_anomaly_dataset(mvtec).oddities
    assert (Path(odd.path).name, odd.problem) == (name, "1 picture neither read as image nor as mask")


@pytest.mark.parametrize("place", ["Masks", "groundtruth", "test/mask"])
def test_masks_of_a_test_split_in_folders_of_other_names(save, rows, place):
    root = save("set", ["train/good/0.png", "test/good/1.png", "test/bad/2.png"], [f"{place}/bad/2.png"])
    assert rows(root)[0] == ("test/bad/2.png", f"{place}/bad/2.png", 1, "set", "bad")
    assert check_anomaly_dataset(root).oddities == []


def test_masks_of_compressed_volumes(save):
    root = save("set", ["good/0.png"])
    volume = np.zeros((8, 8, 3), np.uint8)
    volume[2, 5] = 1
    for name in ("bad/1.nii.gz", "masks/bad/1_mask.nii.gz", "bad/2.nii.gz", "bad/2_seg.nii.gz"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), root / name)
    findings = check_anomaly_dataset(root)
    assert (findings.oddities, findings.counts) == ([], [Count("test", "set", 1, 2, 2)])


def test_pictures_that_differ_by_their_suffix_alone_are_told(save):
    root = save("set", ["good/0.png", "bad/1.jpg"], ["bad/1.png"])
    (odd,) = check_anomaly_dataset(root).oddities
    assert odd.problem == "has the name of 1.jpg; if one of them is a mask, call it 1_mask"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_files(save, rows, delimiter):
    root = save("set", ["images/1.png", "images/2.png", "images/3.png"], ["m/2.png"])
    lines = [["filename", "quality", "mask"], ["images/1.png", "A", ""], ["images/2.png", "C", "m/2.png"]]
    (root / "labels.csv").write_text("\n".join(delimiter.join(line) for line in [*lines, ["images/3.png", "B", ""]]))
    assert rows(root, columns={"label": "quality", "normal": "a"}) == [
        ("images/1.png", None, 0, "set", "good"),
        ("images/2.png", "m/2.png", 1, "set", "anomaly"),
        ("images/3.png", None, 1, "set", "anomaly"),
    ]
    with pytest.raises(
        ValueError, match=r"labels\.csv: it is not known which 'quality' means normal, of 'A', 'C', 'B'"
    ):
        load_anomaly_dataset(root, columns={"label": "quality"})
    with pytest.raises(ValueError, match=r"tables in it have these columns: .*labels\.csv: filename, quality, mask;"):
        load_anomaly_dataset(root, columns={"label": "state"})
    named = delimiter.join(["file", "Quality"]) + f"\nimages/1.png{delimiter}ok"
    (root / "labels.csv").write_text(named)
    with pytest.raises(
        ValueError, match=r"labels\.csv: has no column of labels, but file, Quality; say it by columns"
    ):
        load_anomaly_dataset(root)


def test_tables_as_kaputt_has(save, rows):
    root = save("kaputt", ["query-data/image/1.jpg", "query-data/image/2.jpg", "query-data/crop/1.jpg"])
    table = {
        "capture_id": ["1", "2"],
        "query_image": ["query-data/image/1.jpg", "query-data/image/2.jpg"],
        "defect": [False, True],
        "defect_types": ["", "penetration"],
    }
    (root / "datasets").mkdir()
    datasets.Dataset.from_dict(table).to_parquet(root / "datasets/query-train.parquet")
    assert layout_of(root) == "table"
    assert rows(root, "train") == [
        ("query-data/image/1.jpg", None, 0, "kaputt", "good"),
        ("query-data/image/2.jpg", None, 1, "kaputt", "penetration"),
    ]
    (unread,) = check_anomaly_dataset(root).oddities
    assert Path(unread.path).name == "crop"


def test_rows_of_detect_are_no_truth(save):
    root = save("set", ["images/1.png", "images/2.png"])
    (root / "rows.csv").write_text("path,score,label\nimages/1.png,0.1,normal\nimages/2.png,0.9,anomalous\n")
    with pytest.raises(ValueError, match="no data set found"):
        recognise(root)
