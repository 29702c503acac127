"""Which column of a table is which."""

from collections.abc import Collection, Mapping

# Names that other data sets give to our columns, the most likely first.
COLUMN_NAMES = {
    "image": ("image", "file_name", "filename", "file", "path", "image_path", "img_path", "image_file", "query_image"),
    "mask": (
        *("mask", "ground_truth", "gt", "segmentation", "seg_mask", "annotation"),
        *("mask_file_name", "mask_path", "mask_file"),
    ),
    "label": (
        *("label", "labels", "anomaly", "is_anomaly", "anomalous", "is_anomalous", "is_defective", "defective"),
        *("has_defect", "is_defect", "target", "targets", "class", "classes"),
    ),
    "category": ("category", "cls_name", "object"),
    "defect": ("defect", "defect_type", "defect_types", "specie_name", "anomaly_class"),
}
NORMAL = "normal"  # in `columns`: the value of the labels of normal images


def choose_columns(place: str, columns: Collection[str], given: Mapping[str, str]) -> dict[str, str | None]:
    """
    The names of our columns in a table: those given, else the first usual name that it has, in letters of any
    case.

    Raises:
        ValueError: if the table does not have a column that is given.
    """
    for ours, theirs in given.items():
        if ours != NORMAL and (ours not in COLUMN_NAMES or theirs not in columns):
            raise ValueError(f"{place}: columns={{{ours!r}: {theirs!r}}}, but it has {', '.join(columns)}.")
    by_name = {name.strip().casefold(): name for name in columns}
    found = {
        ours: given.get(ours) or next((by_name[name] for name in names if name in by_name), None)
        for ours, names in COLUMN_NAMES.items()
    }
    if found["label"] is None and found["defect"] == by_name.get("defect") and "defect" not in given:
        kinds = next((by_name[name] for name in COLUMN_NAMES["defect"][1:] if name in by_name), None)
        if kinds is not None:  # the other column says whether there is a defect
            found |= {"label": found["defect"], "defect": kinds}
    return found
