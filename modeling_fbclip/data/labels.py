"""Words for normal and for anomalous images, and the labels that a column of such words gives."""

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)

NORMAL_WORDS = frozenset(
    (
        *("good", "ok", "okay", "io", "normal", "no", "negative", "neg", "healthy", "false", "0", "0.0", "pass"),
        *("passed", "nodefect", "nodefects", "defectfree", "nondefective", "notdefective", "withoutdefect"),
        *("noanomaly", "notanomalous", "nonanomalous", "faultless", "flawless", "undamaged", "intact"),
    )
)
ANOMALOUS_WORDS = frozenset(
    (
        *("anomaly", "anomalies", "anomalous", "abnormal", "abnormality", "notnormal", "bad", "nogood", "notgood"),
        *("defect", "defects", "defective", "withdefect", "damage", "damaged", "broken", "fault", "faulty", "scrap"),
        *("ng", "nok", "notok", "ko", "nio", "fail", "failed", "failure", "reject", "rejected", "unhealthy"),
        *("diseased", "positive", "pos", "1", "1.0", "true", "yes"),
    )
)
SHOWN = 5  # values in a message
# What to do about a column whose meaning is not known.
REMEDY = "say it by columns (--columns label=COLUMN,normal=VALUE)"


def label_of(word: object) -> int | None:
    """0 for a word for normal images, 1 for one for anomalous images, `None` for any other."""
    plain = str(word).strip().casefold()
    if any(map(str.isalpha, plain)):  # no_defect, but not -1
        plain = "".join(filter(str.isalnum, plain))
    return 0 if plain in NORMAL_WORDS else 1 if plain in ANOMALOUS_WORDS else None


def is_normal(name: object) -> bool:
    """Whether the name of a folder or class, or a value of a column, stands for normal images."""
    return label_of(name) == 0


def label_by_column(values: Sequence[str], column: str, place: str, normal: str | None = None) -> dict[str, int]:
    """
    What each value of a column of labels means.

    Args:
        values: the values, as text. They may repeat.
        column: its name.
        place: the file or data set that it is in, for messages.
        normal: the value of normal images, if the user has named it. All others are anomalous then.

    Raises:
        ValueError: if it is not known of a value what it means. Beside a word for normal images, and none for
            anomalous ones, other values are taken for kinds of defects; a warning says so.
    """
    distinct = list(dict.fromkeys(values))
    if normal is not None:
        if not any(_same(value, normal) for value in distinct):
            raise ValueError(f"{place}: no {column!r} is {normal!r}, but {_shown(distinct)}.")
        return {value: int(not _same(value, normal)) for value in distinct}
    labels = {value: label_of(value) for value in distinct}
    unknown = [value for value, label in labels.items() if label is None]
    if unknown and (0 not in labels.values() or 1 in labels.values()):
        raise ValueError(
            f"{place}: it is not known which {column!r} means normal, of {_shown([*unknown, *labels])}; {REMEDY}."
        )
    if unknown:
        logger.warning("%s: the %r of %s are taken for kinds of defects.", place, column, _shown(unknown))
    return {value: 1 if label is None else label for value, label in labels.items()}


def _same(value: str, normal: str) -> bool:
    return value.strip().casefold() == normal.strip().casefold()


def _shown(values: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(values))
    return ", ".join(map(repr, distinct[:SHOWN])) + (" …" if len(distinct) > SHOWN else "")
