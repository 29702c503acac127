"""Each layout with the real file names: files, masks, labels, categories and splits, loaded and streamed."""

import csv
import json
from pathlib import Path

import pytest

from modeling_fbclip.data.layouts import recognise


def layout_of(root):
    return recognise(root).layout.name


def test_mvtec(save, rows):
    root = save(
        "mvtec_anomaly_detection",
        [
            *("bottle/train/good/000.png", "bottle/test/good/000.png", "bottle/test/broken_large/000.png"),
            *("zipper/train/good/000.png", "zipper/test/squeezed_teeth/000.png"),
        ],
        ["bottle/ground_truth/broken_large/000_mask.png", "zipper/ground_truth/squeezed_teeth/000_mask.png"],
    )
    broken = ("bottle/test/broken_large/000.png", "bottle/ground_truth/broken_large/000_mask.png", 1)
    squeezed = ("zipper/test/squeezed_teeth/000.png", "zipper/ground_truth/squeezed_teeth/000_mask.png", 1)
    assert layout_of(root) == "mvtec"
    assert rows(root) == [
        (*broken, "bottle", "broken_large"),
        ("bottle/test/good/000.png", None, 0, "bottle", "good"),
        (*squeezed, "zipper", "squeezed_teeth"),
    ]
    assert rows(root, "train") == [
        ("bottle/train/good/000.png", None, 0, "bottle", "good"),
        ("zipper/train/good/000.png", None, 0, "zipper", "good"),
    ]
    assert rows(root, category="zipper") == [(*squeezed, "zipper", "squeezed_teeth")]
    assert [row[3] for row in rows(root / "bottle")] == ["bottle", "bottle"]  # a single category


def test_mpdd_dtd_synthetic_and_btad_have_the_mvtec_layout(save, rows):
    mpdd = save("MPDD", ["tubes/test/anomalous/000.png"], ["tubes/ground_truth/anomalous/000_mask.png"])
    assert rows(mpdd)[0][1:] == ("tubes/ground_truth/anomalous/000_mask.png", 1, "tubes", "anomalous")
    dtd = save(
        "DTD-Synthetic",
        ["Woven_001/test/good/000.png", "Woven_001/test/bad/000.png"],
        ["Woven_001/ground_truth/bad/000_mask.png"],
    )
    assert rows(dtd)[0][1:] == ("Woven_001/ground_truth/bad/000_mask.png", 1, "Woven_001", "bad")
    btad = save(
        "BTAD/BTech_Dataset_transformed",
        ["01/train/ok/0000.bmp", "01/test/ok/0000.bmp", "01/test/ko/0000.bmp", "03/test/ko/0001.bmp"],
        ["01/ground_truth/ko/0000.png", "03/ground_truth/ko/0001.bmp"],
    ).parent
    assert layout_of(btad) == "mvtec"  # inside the folder that the archive has around it
    place = "BTech_Dataset_transformed"
    assert rows(btad) == [
        (f"{place}/01/test/ko/0000.bmp", f"{place}/01/ground_truth/ko/0000.png", 1, "01", "ko"),
        (f"{place}/01/test/ok/0000.bmp", None, 0, "01", "good"),
        (f"{place}/03/test/ko/0001.bmp", f"{place}/03/ground_truth/ko/0001.bmp", 1, "03", "ko"),
    ]
    assert len(rows(btad, "train")) == 1


def test_kolektor_sdd_as_downloaded_and_in_the_mvtec_layout(save, rows):
    root = save(
        "KolektorSDD",
        ["kos01/Part0.jpg", "kos01/Part1.jpg", "kos02/Part0.jpg"],
        masks=["kos01/Part1_label.bmp"],
        empty=["kos01/Part0_label.bmp", "kos02/Part0_label.bmp"],
    )
    assert layout_of(root) == "kolektor"
    assert rows(root) == [
        ("kos01/Part0.jpg", "kos01/Part0_label.bmp", 0, "KolektorSDD", "good"),
        ("kos01/Part1.jpg", "kos01/Part1_label.bmp", 1, "KolektorSDD", "anomaly"),
        ("kos02/Part0.jpg", "kos02/Part0_label.bmp", 0, "KolektorSDD", "good"),
    ]
    name = "electrical commutators"
    prepared = save(
        "SDD", [f"{name}/test/good/1.jpg", f"{name}/test/defect/2.jpg"], [f"{name}/ground_truth/defect/2.bmp"]
    )
    assert [row[2:] for row in rows(prepared)] == [(1, name, "defect"), (0, name, "good")]


def write_visa_splits(root, lines):
    (root / "split_csv").mkdir()
    with (root / "split_csv/1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *lines])


def test_visa(save, rows):
    normal, test = "candle/Data/Images/Normal/0000.JPG", "candle/Data/Images/Normal/0001.JPG"
    bad, mask = "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png"
    root = save("VisA", [normal, test, bad], [mask])
    write_visa_splits(
        root,
        [
            ["candle", "train", "normal", normal, ""],
            ["candle", "test", "normal", test, ""],
            ["candle", "test", "anomaly", bad, mask],
        ],
    )
    assert layout_of(root) == "visa"
    assert rows(root) == [(test, None, 0, "candle", "good"), (bad, mask, 1, "candle", "anomaly")]
    assert rows(root, "train") == [(normal, None, 0, "candle", "good")]


def test_dagm(save, rows):
    root = save(
        "DAGM_KaggleUpload",
        ["Class1/Test/0001.PNG", "Class1/Test/0002.PNG", "Class10/Test/0003.PNG", "Class2/Train/0576.PNG"],
        ["Class1/Test/Label/0002_label.PNG", "Class10/Test/Label/0003_label.PNG", "Class2/Train/Label/0576_label.PNG"],
    )
    assert layout_of(root) == "dagm"
    assert rows(root) == [
        ("Class1/Test/0001.PNG", None, 0, "Class1", "good"),
        ("Class1/Test/0002.PNG", "Class1/Test/Label/0002_label.PNG", 1, "Class1", "anomaly"),
        ("Class10/Test/0003.PNG", "Class10/Test/Label/0003_label.PNG", 1, "Class10", "anomaly"),
    ]
    assert [row[3] for row in rows(root, "train")] == ["Class2"]


def test_real_iad(save, rows):
    good, bad = "OK/S0001/audiojack_0001_OK_C1_20231021.jpg", "NG/BX/S0002/audiojack_0002_NG_BX_C1_20231021.jpg"
    mask = bad.replace(".jpg", ".png")
    root = save(
        "Real-IAD", [f"realiad_1024/audiojack/{name}" for name in (good, bad)], [f"realiad_1024/audiojack/{mask}"]
    )

    def entry(kind, image, mask_path):
        return {"category": "audiojack", "anomaly_class": kind, "image_path": image, "mask_path": mask_path}

    described = {
        "meta": {"normal_class": "OK", "prefix": "audiojack/"},
        "train": [entry("OK", good, None)],
        "test": [entry("OK", good, None), entry("BX", bad, mask)],
    }
    place = root / "realiad_jsons/realiad_jsons"
    place.mkdir(parents=True)
    (place / "audiojack.json").write_text(json.dumps(described))
    assert layout_of(root) == "real-iad"
    assert rows(root) == [
        (f"realiad_1024/audiojack/{good}", None, 0, "audiojack", "good"),
        (f"realiad_1024/audiojack/{bad}", f"realiad_1024/audiojack/{mask}", 1, "audiojack", "BX"),
    ]
    assert len(rows(root, "train")) == 1
    described["test"][1]["mask_path"] = "../../realiad_jsons/secret.png"
    (place / "audiojack.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"audiojack\.json: .*secret\.png' leads out of"):
        rows(root)


def test_brain_mri_and_br35h(save, rows):
    brain = save("BrainMRI", ["brain_tumor_dataset/yes/Y1.jpg", "brain_tumor_dataset/no/1 no.jpeg"])
    assert layout_of(brain) == "yes-no"
    assert [row[:3] for row in rows(brain)] == [
        ("brain_tumor_dataset/no/1 no.jpeg", None, 0),
        ("brain_tumor_dataset/yes/Y1.jpg", None, 1),
    ]
    br35h = save("Br35H", ["yes/y0.jpg", "no/no0.jpg", "pred/pred0.jpg"])
    assert rows(br35h) == [
        ("no/no0.jpg", None, 0, "Br35H", "good"),
        ("yes/y0.jpg", None, 1, "Br35H", "anomaly"),
    ]


@pytest.mark.parametrize("folder", ["head_ct", "head_ct/head_ct"])
def test_head_ct_as_downloaded(save, rows, folder):
    root = save("HeadCT", [f"{folder}/000.png", f"{folder}/100.png"])
    (root / "labels.csv").write_text("id, hemorrhage\n0, 1\n100,0\n")
    assert layout_of(root) == "head-ct"
    assert [row[2:] for row in rows(root)] == [(1, "HeadCT", "anomaly"), (0, "HeadCT", "good")]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/1.png", "masks/1.png"),  # ColonDB, Kvasir-SEG and EndoTect, which have JPEG
        ("Original/1.tif", "Ground Truth/1.tif"),  # CVC-ClinicDB
        ("PNG/Original/1.png", "PNG/Ground Truth/1.png"),
        ("test-image/0000.jpg", "test-mask/0000.jpg"),  # TN3K
        (
            "ISBI2016_ISIC_Part1_Test_Data/ISIC_0000003.jpg",
            "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_0000003_Segmentation.png",
        ),
    ],
)
def test_images_and_masks(save, rows, image, mask):
    root = save("Anatomy", [image], [mask])
    assert layout_of(root) == "image-mask"
    assert rows(root) == [(image, mask, 1, "Anatomy", "anomaly")]


def test_images_and_masks_of_several_categories_and_splits(save, rows):
    root = save("tn3k", ["trainval-image/1.jpg", "test-image/2.jpg"], ["trainval-mask/1.jpg", "test-mask/2.jpg"])
    assert rows(root, "train") == [("trainval-image/1.jpg", "trainval-mask/1.jpg", 1, "tn3k", "anomaly")]
    names = [f"{name}/images/1.png" for name in ("CVC-ColonDB", "Kvasir")]
    several = save("TestDataset", names, [name.replace("images", "masks") for name in names])
    assert [row[3] for row in rows(several)] == ["CVC-ColonDB", "Kvasir"]


def write_meta(root, **splits):
    (root / "meta.json").write_text(json.dumps(splits))


def entry(img_path, mask_path="", anomaly=0, specie_name="good"):
    paths = {"img_path": img_path, "mask_path": mask_path}
    return paths | {"cls_name": "bottle", "specie_name": specie_name, "anomaly": anomaly}


def test_meta_json_is_recognised_before_folders(save, rows):
    root = save("mvtec", ["bottle/test/good/0.png", "bottle/test/cut/1.png"], ["bottle/ground_truth/cut/other.png"])
    write_meta(
        root,
        train={"bottle": []},
        test={
            "bottle": [
                entry("bottle/test/good/0.png"),
                entry("bottle/test/cut/1.png", "bottle/ground_truth/cut/other.png", 1, "cut"),
            ]
        },
    )
    assert layout_of(root) == "meta-json"
    cut = ("bottle/test/cut/1.png", "bottle/ground_truth/cut/other.png", 1, "bottle", "cut")
    assert rows(root) == [("bottle/test/good/0.png", None, 0, "bottle", "good"), cut]
    assert rows(root, layout="mvtec")[0][1] is None  # the folder has no mask of that name


def test_meta_json_of_dagm_and_of_absolute_paths_and_without_masks(save, rows):
    root = save("prepared", ["images/1.png", "images/2.png"], ["masks/1.png"])
    write_meta(
        root,
        Train={},
        Test={
            "colon": [
                entry(str(root / "images/1.png"), str(root / "masks/1.png"), 1, ""),
                entry("images/2.png", "images", 1, ""),  # a folder means no mask
            ]
        },
    )
    assert rows(root) == [
        ("images/1.png", "masks/1.png", 1, "colon", "anomaly"),
        ("images/2.png", None, 1, "colon", "anomaly"),
    ]


def test_meta_json_may_have_numbers_as_text(save, rows):
    root = save("prepared", ["1.png", "2.png", "3.png"])
    values = zip(("1.png", "2.png", "3.png"), ("0", "1", False), strict=True)
    write_meta(root, test={"colon": [entry(name, anomaly=value) for name, value in values]})
    assert [row[2] for row in rows(root)] == [0, 1, 0]


def test_masks_may_lie_in_a_folder_of_the_defect_or_in_a_shared_one(save, rows):
    root = save(
        "parts", ["good/1.png", "bad/2.png", "bad/3.png"], ["masks/bad/2_mask.png", "masks/2.png", "masks/3.png"]
    )
    assert [row[1] for row in rows(root)] == ["masks/bad/2_mask.png", "masks/3.png", None]


def test_plain_folders(save, rows):
    root = save(
        "parts",
        ["good/1.png", "scratch/1.png", "scratch/2.png", "dent/1.jpg"],
        ["masks/scratch/1.png", "masks/dent/1_mask.png"],
    )
    (root / "notes.txt").write_text("text")
    assert layout_of(root) == "plain"
    assert rows(root) == [
        ("dent/1.jpg", "masks/dent/1_mask.png", 1, "parts", "dent"),
        ("good/1.png", None, 0, "parts", "good"),
        ("scratch/1.png", "masks/scratch/1.png", 1, "parts", "scratch"),
        ("scratch/2.png", None, 1, "parts", "scratch"),
    ]
    flat = save("flat", ["good/1.png", "bad/2.png"], ["masks/2.png"])
    assert rows(flat)[0] == ("bad/2.png", "masks/2.png", 1, "flat", "bad")
    assert rows(save("normal_only", ["good/1.png"])) == [("good/1.png", None, 0, "normal_only", "good")]
    nested = save("line", ["bolts/good/1.png", "nuts/good/1.png", "nuts/rust/1.png"])
    assert [row[2:] for row in rows(nested)] == [(0, "bolts", "good"), (0, "nuts", "good"), (1, "nuts", "rust")]


def test_good_only_is_read_if_it_is_named(save, rows):
    root = save("parts", ["b.png", "a.png", "older/c.png", "newer/d.png"])
    expected = [("a.png", None, 0, "parts", "good"), ("b.png", None, 0, "parts", "good")]
    assert rows(root, layout="good-only") == expected
    with pytest.raises(ValueError, match="no data set found"):
        layout_of(root)


def test_imagefolder_metadata(save, rows):
    root = save("folder", ["1.png", "2.png", "3.png"], ["masks/2.png"], ["masks/1.png"])
    (root / "metadata.csv").write_text(
        "file_name,mask_file_name,label,category,defect\n"
        "1.png,masks/1.png,good,left,\n2.png,masks/2.png,bad,right,scratch\n3.png,,bad,right,\n"
    )
    assert layout_of(root) == "imagefolder"
    assert rows(root) == [
        ("1.png", "masks/1.png", 0, "left", "good"),
        ("2.png", "masks/2.png", 1, "right", "scratch"),
        ("3.png", None, 1, "right", "anomaly"),
    ]


def test_imagefolder_metadata_of_splits_and_without_labels(save, rows):
    root = save("lines", ["train/good/1.png", "test/2.png", "test/3.png"], ["test/m/3.png"])
    (root / "train/metadata.jsonl").write_text(json.dumps({"file_name": "good/1.png"}))
    lines = [{"file_name": "2.png", "mask_file_name": None}, {"file_name": "3.png", "mask_file_name": "m/3.png"}]
    (root / "test/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert rows(root, "train") == [("train/good/1.png", None, 0, "lines", "good")]
    assert rows(root) == [
        ("test/2.png", None, 0, "lines", "good"),
        ("test/3.png", "test/m/3.png", 1, "lines", "anomaly"),
    ]


def test_hidden_files_and_other_suffixes_are_ignored(save, rows):
    root = save("parts", ["good/1.png", "good/._1.png", "bad/2.JPG", ".cache/3.png", "__MACOSX/good/1.png"])
    (root / "good/Thumbs.db").touch()
    assert [row[0] for row in rows(root)] == ["bad/2.JPG", "good/1.png"]


@pytest.mark.parametrize("listed", ["../secret.png", "good/../../secret.png", "/etc/secret.png", "..\\secret.png"])
@pytest.mark.parametrize("field", ["img_path", "mask_path"])
def test_a_list_cannot_name_a_file_outside_the_folder(save, rows, listed, field):
    root = save("set/inner", ["good/1.png"])
    save("set", ["secret.png"])
    write_meta(root, test={"bottle": [entry("good/1.png", anomaly=1) | {field: listed}]})
    with pytest.raises(ValueError, match=r"meta\.json: .*secret\.png' leads out of"):
        rows(root)
    (root / "meta.json").unlink()
    names = {"img_path": "image", "mask_path": "mask"}
    line = {"object": "candle", "split": "test", "label": "anomaly", "image": "good/1.png", "mask": ""}
    write_visa_splits(root, [(line | {names[field]: listed}).values()])
    with pytest.raises(ValueError, match=r"1cls\.csv: .*leads out of"):
        rows(root)
    (root / "split_csv/1cls.csv").unlink()
    (root / "metadata.jsonl").write_text(
        json.dumps(
            {"file_name": "good/1.png", "mask_file_name": ""}
            | {"file_name" if field == "img_path" else "mask_file_name": listed}
        )
    )
    with pytest.raises(ValueError, match=r"metadata\.jsonl: .*leads out of"):
        rows(root)


def test_links_to_files_outside_are_read(save, rows, tmp_path):
    save("store", ["1.png"])
    root = tmp_path / "linked"
    (root / "good").mkdir(parents=True)
    (root / "good/1.png").symlink_to(tmp_path / "store/1.png")
    assert rows(root) == [("good/1.png", None, 0, "linked", "good")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("meta.json", "{", "meta.json: is not readable as JSON"),
        ("meta.json", '{"test": {"a": [{"img_path": "1.png"}]}}', "meta.json: an entry has no 'anomaly'"),
        (
            "meta.json",
            '{"test": {"a": [{"img_path": "good/1.png", "mask_path": "", "anomaly": "bad"}]}}',
            "meta.json: 'anomaly' is 'bad', but must be 0 or 1",
        ),
        ("meta.json", '{"test": {"a": [7]}}', "meta.json: an entry has no 'anomaly'"),
        ("metadata.jsonl", "{", "metadata.jsonl: is not readable as JSON lines"),
        ("split_csv/1cls.csv", "object,split\ncandle,test\n", "1cls.csv: an entry has no 'image'"),
        ("split_csv/1cls.csv", "a,b\n1,2\n", "1cls.csv: an entry has no 'split'"),
        ("split_csv/1cls.csv", b"\xff\xfea", "1cls.csv: is not readable as CSV"),
    ],
)
def test_the_error_of_a_damaged_list_is_one_line_with_its_name(save, rows, name, text, said):
    root = save("set", ["good/1.png"])
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=said.replace(".", r"\.")) as raised:
        rows(root)
    assert "\n" not in str(raised.value)


def test_meta_json_of_another_program_is_ignored(save):
    root = save("set", ["good/1.png"])
    for other in ("[]", '{"name": "x"}', '{"test": 3}', '{"test": {"a": 1}}'):
        (root / "meta.json").write_text(other)
        assert layout_of(root) == "plain"


def test_the_error_of_an_unknown_layout_lists_the_known_ones(tmp_path, save):
    with pytest.raises(
        ValueError, match=r"no data set found\. Put normal .*\. Looked for meta\.json; .*0_mask\.png\."
    ):
        recognise(tmp_path)
    root = save("set", ["good/1.png"])
    with pytest.raises(ValueError, match=r"set: no data set found\. Leave .*\. Looked for split_csv/1cls\.csv\."):
        recognise(root, "visa")
    with pytest.raises(ValueError, match="layout='mvtek' is none of meta-json, "):
        recognise(root, "mvtek")


def test_the_layout_of_every_registered_data_set_exists():
    from modeling_fbclip.data.layouts import LAYOUTS
    from modeling_fbclip.data.registry import KNOWN_DATASETS

    assert len(KNOWN_DATASETS) == 17
    assert {known.layout for known in KNOWN_DATASETS.values()} <= set(LAYOUTS)
    assert [len(KNOWN_DATASETS[name].categories) for name in ("mvtec-ad", "visa", "real-iad")] == [15, 12, 30]


def test_a_relative_path_is_read(save, monkeypatch, rows):
    root = save("set", ["good/1.png"])
    monkeypatch.chdir(root)
    assert rows(Path()) == [("good/1.png", None, 0, "set", "good")]
