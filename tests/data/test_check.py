"""`check_anomaly_dataset`: correct counts, and every oddity with its file."""

import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from modeling_fbclip.data import check_anomaly_dataset, identify, load_anomaly_dataset
from modeling_fbclip.data.check import Count
from modeling_fbclip.data.registry import KNOWN_DATASETS


def oddities(findings, root):
    return [(oddity.path.removeprefix(f"{root}/"), oddity.problem) for oddity in findings.oddities]


def test_images_and_masks_are_counted(save):
    root = save(
        "set",
        ["bolt/train/good/0.png", "bolt/test/good/1.png", "bolt/test/cut/2.png", "bolt/test/cut/3.png"],
        ["bolt/ground_truth/cut/2.png", "bolt/ground_truth/cut/3.png"],
    )
    findings = check_anomaly_dataset(root)
    assert (findings.layout, findings.known_as, findings.oddities) == ("mvtec", None, [])
    assert findings.counts == [Count("train", "bolt", 1, 0, 0), Count("test", "bolt", 1, 2, 2)]


def test_every_oddity_is_listed_with_its_file(save):
    names = ["damaged", "unmasked", "resized", "empty", "sound", "text_mask"]
    root = save(
        "set",
        [f"bad/{name}.png" for name in names] + ["good/1.png"],
        ["masks/bad/sound.png", "masks/bad/damaged.png"],
        ["masks/bad/empty.png"],
    )
    cut = (root / "bad/damaged.png").read_bytes()[:-30]
    (root / "bad/damaged.png").write_bytes(cut)
    Image.fromarray(np.eye(6, 4, dtype=np.uint8) * 255).save(root / "masks/bad/resized.png")
    (root / "masks/bad/text_mask.png").write_text("text")
    findings = check_anomaly_dataset(root)
    found = dict(oddities(findings, root))
    assert found.pop("bad/damaged.png").startswith("the image is damaged or cut off")
    assert found == {
        "bad/unmasked.png": "anomalous, but has no mask",
        "masks/bad/resized.png": "mask of 4 by 6 pixels, image of 8 by 8",
        "masks/bad/empty.png": "mask is empty, but the image anomalous",
        "masks/bad/text_mask.png": "not an image, or in a format that Pillow cannot read",
    }
    assert len(findings.oddities) == 5
    assert findings.counts == [Count("test", "set", 1, 6, 5)]


def test_a_data_set_with_image_labels_only_is_not_odd(save):
    assert check_anomaly_dataset(save("set", ["yes/1.png", "no/1.png"])).oddities == []


def test_missing_files_and_masks_of_normal_images_are_odd(save):
    root = save("set", ["1.png"], ["mask.png"])
    (root / "metadata.csv").write_text("file_name,mask_file_name,label\n1.png,mask.png,good\n2.png,,good\n")
    assert oddities(check_anomaly_dataset(root), root) == [
        ("mask.png", "mask of a normal image"),
        ("2.png", "no such file"),
        (str(root), "all images are normal by their labels"),
    ]


def test_a_missing_category_of_a_known_data_set_is_odd(save):
    names = list(KNOWN_DATASETS["mvtec-ad"].categories)
    names.remove("zipper")
    root = save("mvtec", [f"{name}/test/good/0.png" for name in names])
    findings = check_anomaly_dataset(root)
    assert findings.known_as == "MVTec AD"
    assert [(oddity.category, oddity.problem) for oddity in findings.oddities] == [("zipper", "category is missing")]


def test_data_sets_are_identified_by_half_of_their_categories():
    several = [known for known in KNOWN_DATASETS.values() if len(known.categories) > 1]
    assert [identify(known.categories).known for known in several] == several
    assert identify(["toothbrush", "zipper"]) is None  # of MVTec AD and of Real-IAD
    assert identify([*KNOWN_DATASETS["visa"].categories, "own"]).title == "like VisA"
    assert identify(["brain"]) is None
    assert identify([]) is None


def test_tables_are_checked(tmp_path):
    features = datasets.Features(
        {"image": datasets.Image(), "mask": datasets.Image(), "label": datasets.Value("int64")}
    )
    images = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(3)]
    masks = [Image.fromarray(np.eye(height, 8, dtype=np.uint8)) for height in (8, 4)] + [None]
    columns = {"image": images, "mask": masks, "label": [1, 1, 0]}
    tables = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=tables.select([2]), test=tables.select([0, 1])).save_to_disk(tmp_path / "tables")
    findings = check_anomaly_dataset(tmp_path / "tables")
    assert findings.counts == [Count("train", "tables", 1, 0, 0), Count("test", "tables", 0, 2, 2)]
    place = tmp_path / "tables/test[1]"
    assert [oddity[2:] for oddity in findings.oddities] == [(str(place), "mask of 8 by 4 pixels, image of 8 by 8")]


def test_a_damaged_mask_that_gives_the_label_is_one_oddity(save):
    images = [f"kos0{part}/Part0.jpg" for part in (1, 2, 3)]
    root = save("KolektorSDD", images, ["kos01/Part0_label.bmp"], ["kos02/Part0_label.bmp", "kos03/Part0_label.bmp"])
    (root / "kos02/Part0_label.bmp").write_text("text")
    findings = check_anomaly_dataset(root)
    assert (findings.layout, findings.counts) == ("kolektor", [Count("test", "KolektorSDD", 1, 2, 3)])
    assert oddities(findings, root) == [
        ("kos02/Part0_label.bmp", "not an image, or in a format that Pillow cannot read")
    ]


def test_pictures_that_no_layout_reads_are_odd(save):
    root = save(
        "set",
        ["good/1.png", "bad/2.png", "loose.png", "a/b/c/3.png", "gt/4.png", "found/1.png.map.png", ".hidden/5.png"],
    )
    (root / "notes.txt").touch()
    findings = check_anomaly_dataset(root)
    assert (findings.layout, findings.counts) == ("plain", [Count("test", "set", 1, 2, 0)])
    assert oddities(findings, root) == [
        (str(root), "1 picture neither read as image nor as mask"),
        ("gt", "1 picture neither read as image nor as mask; they look like masks, but none fits an image"),
    ]
    assert findings.left_out == {"hidden": 1, "results of fbclip": 1, "without an image's suffix": 1}


def test_the_same_picture_in_two_splits_is_odd(save):
    root = save("set", ["cap/train/good/1.png", "cap/test/good/2.png", "cap/test/bad/3.png"])
    shutil.copy(root / "cap/train/good/1.png", root / "cap/test/good/4.png")
    shutil.copy(root / "cap/test/good/2.png", root / "cap/test/good/5.png")  # in the same split
    expected = f"the same picture as {root / 'cap/train/good/1.png'} in the split train"
    assert oddities(check_anomaly_dataset(root), root) == [("cap/test/good/4.png", expected)]


def test_odd_masks(save):
    names = ("inverted", "whole", "kinds", "grey", "photograph", "turned", "sound")
    root = save("set", ["good/1.png"] + [f"bad/{name}.png" for name in names], ["masks/bad/sound.png"])
    masks = {name: np.zeros((8, 8), np.uint8) for name in names[:-1]}
    masks["inverted"][:] = 255
    masks["inverted"][3, 3] = 0
    masks["whole"] = np.full((8, 8), 255, np.uint8)
    masks["kinds"][0, :3] = (1, 2, 255)
    masks["grey"][:3] = np.arange(24).reshape(3, 8) * 10
    masks["photograph"][:] = np.arange(64).reshape(8, 8) * 4
    masks["turned"][1, 2] = 1
    for name, pixels in masks.items():
        Image.fromarray(pixels).save(root / f"masks/bad/{name}.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(root / "bad/turned.png").save(root / "bad/turned.png", exif=exif)
    assert dict(oddities(check_anomaly_dataset(root), root)) == {
        "masks/bad/inverted.png": "mask marks 98% of the image: it may be inverted",
        "masks/bad/whole.png": "mask marks 100% of the image: it may be inverted",
        "masks/bad/kinds.png": "mask of 4 values, not of two",
        "masks/bad/grey.png": "mask of 24 values, most of them grey: it may be a photograph",
        "masks/bad/photograph.png": "mask of 64 values, most of them grey: it may be a photograph",
        "masks/bad/turned.png": "mask turned by the EXIF data of its photograph: check that it was drawn on the "
        "photograph unturned",
    }


def test_numbered_categories_name_no_data_set(save):
    for names, title in ((("01", "02"), "like BTAD"), ([f"Class{n}" for n in range(1, 7)], "like DAGM 2007")):
        root = save(title, [f"{name}/test/good/{name}.png" for name in names])
        findings = check_anomaly_dataset(root)
        assert (findings.known_as, findings.oddities) == (title, [])


def test_a_folder_of_masks_without_masks_is_odd(save):
    root = save("set", ["good/1.png", "bad/2.png"])
    (root / "Ground_Truth/bad").mkdir(parents=True)
    (root / "Ground_Truth/bad/2.npy").touch()
    findings = check_anomaly_dataset(root)
    assert oddities(findings, root) == [("Ground_Truth", "looks like masks, but holds none that is read")]
    assert findings.left_out == {"without an image's suffix": 1}


def test_a_line_break_in_a_name_leaves_the_message_on_one_line(tmp_path):
    folder = tmp_path / "line\nbreak"
    folder.mkdir()
    (folder / "meta.json").write_text("{")
    for read in (check_anomaly_dataset, load_anomaly_dataset):
        with pytest.raises(ValueError, match=r"line\\nbreak/meta\.json: is not readable as JSON") as raised:
            read(tmp_path)
        assert len(str(raised.value).splitlines()) == 1
