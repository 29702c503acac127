"""Words for normal and anomalous: known ones are read, others are asked for, and nothing is silently normal."""

import logging

import datasets
import pytest
from PIL import Image

from modeling_fbclip.data import check_anomaly_dataset, load_anomaly_dataset
from modeling_fbclip.data.labels import label_by_column, label_of


def test_usual_words():
    normal = [
        "good",
        "OK",
        "Normal ",
        "no_defect",
        "no defect",
        "Defect-Free",
        "nodefect",
        "pass",
        "0",
        "0.0",
        "False",
    ]
    anomalous = ["NG", "bad", "Defective", "anomaly", "not ok", "fail", "1", "1.0", "True", "abnormal", "positive"]
    assert [label_of(word) for word in normal] == [0] * len(normal)
    assert [label_of(word) for word in anomalous] == [1] * len(anomalous)
    assert [label_of(word) for word in ("scratch", "-1", "2", "A", "", "goodish", "01")] == [None] * 7
    assert [label_of(value) for value in (0, 1, True, False, 1.0)] == [0, 1, 1, 0, 1]


def test_a_column_of_labels(caplog):
    assert label_by_column(["ok", "NG", "ok"], "state", "t.csv") == {"ok": 0, "NG": 1}
    assert label_by_column(["x", "y"], "state", "t.csv", normal="Y") == {"x": 1, "y": 0}
    assert caplog.records == []
    assert label_by_column(["good", "cut"], "state", "t.csv") == {"good": 0, "cut": 1}
    assert caplog.messages == ["t.csv: the 'state' of 'cut' are taken for kinds of defects."]
    for values in (["good", "bad", "unsure"], ["bottle", "cable"], ["3", "4"], ["bad", "rust"]):
        with pytest.raises(ValueError, match=r"t\.csv: it is not known which 'state' means normal, of .*--columns"):
            label_by_column(values, "state", "t.csv")
    with pytest.raises(ValueError, match=r"t\.csv: no 'state' is 'z', but 'x', 'y'\."):
        label_by_column(["x", "y"], "state", "t.csv", normal="z")


def table(tmp_path, name="label", values=(0, 1), feature=None):
    """A folder of a table of photographs with a column of labels."""
    images = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(len(values))]
    features = datasets.Features({"image": datasets.Image(), name: feature or datasets.Value("string")})
    data = datasets.Dataset.from_dict({"image": images, name: list(values)}, features=features)
    data.save_to_disk(tmp_path / "table")
    return tmp_path / "table"


@pytest.mark.parametrize("streaming", [False, True])
def test_labels_of_tables(tmp_path, streaming):
    classes = datasets.ClassLabel(names=["defect", "nodefect"])
    rows = load_anomaly_dataset(table(tmp_path, values=(1, 0, 1), feature=classes), streaming=streaming)
    assert [row["label"] for row in rows] == [0, 1, 0]


@pytest.mark.parametrize("streaming", [False, True])
def test_the_column_target(tmp_path, streaming):
    rows = load_anomaly_dataset(table(tmp_path, "target", (0, 1), datasets.Value("int64")), streaming=streaming)
    assert [row["label"] for row in rows] == [0, 1]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "values", "feature", "said"),
    [
        ("label", ("bottle", "cable"), None, "it is not known which 'label' means normal, of 'bottle'"),
        (
            "label",
            (0, 1),
            datasets.ClassLabel(names=["bottle", "cable"]),
            "it is not known which 'label' means normal",
        ),
        ("label", ("good", "bad", "unsure"), None, "it is not known which 'label' means normal, of 'unsure'"),
        ("state", ("good", "bad"), None, "has no column of labels or masks, but image, state; say it by columns"),
    ],
)
def test_labels_of_unknown_meaning_are_refused(tmp_path, name, values, feature, said, streaming):
    with pytest.raises(ValueError, match=said) as raised:
        list(load_anomaly_dataset(table(tmp_path, name, values, feature), streaming=streaming))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_user_says_what_is_normal(tmp_path, streaming):
    columns = {"label": "state", "normal": "A"}
    rows = load_anomaly_dataset(table(tmp_path, "state", ("B", "A", "C")), columns=columns, streaming=streaming)
    assert [row["label"] for row in rows] == [1, 0, 1]


def test_scores_need_no_labels(tmp_path):
    rows = load_anomaly_dataset(table(tmp_path, "state", ("x", "y")), labelled=False)
    assert list(rows["label"]) == [-1, -1]


def test_labels_of_one_kind_are_odd(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    findings = check_anomaly_dataset(table(tmp_path, values=(0, 0), feature=datasets.Value("int64")))
    assert [oddity.problem for oddity in findings.oddities] == ["all images are normal by their labels"]
    assert findings.left_out == {}


def test_a_list_without_labels_is_refused(save):
    root = save("set", ["images/1.png", "images/2.png"])
    (root / "metadata.csv").write_text("file_name,size\nimages/1.png,3\nimages/2.png,4\n")
    with pytest.raises(ValueError, match=r"metadata\.csv: no label of 1\.png, in the columns file_name, size; say it"):
        load_anomaly_dataset(root)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(save, delimiter):
    root = save("set", ["1.png", "2.png"])
    lines = [("file_name", "label"), ("1.png", "normal"), ("2.png", "anomalous")]
    (root / "metadata.csv").write_text("\n".join(map(delimiter.join, lines)))
    assert list(load_anomaly_dataset(root)["label"]) == [0, 1]
