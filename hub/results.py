"""What an evaluation wrote, as the card shows it and as the Hub reads it."""

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from modeling_fbclip.data.registry import identify

# In a model's folder: what `fbclip evaluate --output` writes, or several such sets in one file.
EVALUATION = "evaluation.json"
OWN_METHOD = "FB-CLIP"
ALL = "all"  # kinds of defect
TASK = "image-segmentation"
METRICS = {"auroc", "ap", "aupro", "aupimo", "f1"}


class ResultSet(NamedTuple):
    """
    The results on one data set.

    Args:
        name: the data set's.
        facts: what else is known of it: domain, images, licence, a warning.
        rows: one a method or a category, values in `[0, 1]` under the names of the metrics.
        kinds: more rows, each of one kind of defect; or none.
        metrics: the model's own, over all.
        dataset_id, task_id: the data set as a benchmark of the Hub, if it is one.
    """

    name: str
    facts: list[str]
    rows: list[dict[str, Any]]
    kinds: list[dict[str, Any]]
    metrics: dict[str, float]
    dataset_id: str | None = None
    task_id: str | None = None


def read_json(path: Path) -> dict[str, Any]:
    r"""
    Raises:
        `ValueError`: The file cannot be read, or holds no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds no JSON object.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def read_results(folder: Path) -> list[ResultSet]:
    r"""
    The sets of `evaluation.json` in a model's folder, none if there is no such file.

    Raises:
        `ValueError`: The file is no report of an evaluation.
    """
    path = folder / EVALUATION
    return read_report(path) if path.is_file() else []


def read_report(path: Path) -> list[ResultSet]:
    r"""
    The sets of a report of an evaluation, wherever it lies.

    Raises:
        `ValueError`: The file is no report of an evaluation.
    """
    report = read_json(path)
    try:
        return [_result_set(found) for found in report["sets"]] if "sets" in report else [_own_report(report)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no report of `fbclip evaluate` ({type(error).__name__}: {error}).") from error


def read_circumstances(folder: Path) -> list[str]:
    """What `evaluation.json` says of all its sets: the machine, the command."""
    path = folder / EVALUATION
    return _facts(read_json(path)) if path.is_file() else []


def _result_set(found: dict[str, Any]) -> ResultSet:
    """One of several sets. Rows of a kind of defect, if there are such, stand apart from those of all images."""
    rows = [{name: value for name, value in row.items() if name != "kind"} for row in found["rows"] if _is_whole(row)]
    own = min(
        (row for row in rows if str(row.get("method", "")).startswith(OWN_METHOD)),
        key=_name_length,
        default=dict[str, Any](),
    )
    return ResultSet(
        str(found["name"]),
        _facts(found, but={"name", "dataset_id", "task_id"}),
        rows,
        [row for row in found["rows"] if not _is_whole(row)],
        _numbers(own),
        found.get("dataset_id"),
        found.get("task_id"),
    )


def _is_whole(row: dict[str, Any]) -> bool:
    return row.get("kind", ALL) == ALL


def _name_length(row: dict[str, Any]) -> int:
    return len(row["method"])  # variants of a method have longer names than itself


def _own_report(report: dict[str, Any]) -> ResultSet:
    """That of `fbclip evaluate`, whose categories tell what the data set is."""
    categories, counts = report["categories"], report["counts"]
    known = identify(categories)
    rows = [{"category": name, "images": counts[name]["images"], **metrics} for name, metrics in categories.items()]
    total = sum(count["images"] for count in counts.values())
    facts = [f"images: {total}"]
    if known:
        facts += [f"domain: {known.domain}", f"licence: {known.licence}", f"source: {known.source}"]
    facts += [f"{_label(name)}: {_text(value)}" for name, value in report.get("settings", {}).items()]
    overlap = report.get("training_overlap")
    if overlap and overlap.get("images"):
        facts.append(f"**not zero-shot**: trained on {overlap['images']} of these {overlap['of']} images")
    name = known.title if known else "own data"
    return ResultSet(
        name, facts, [*rows, {"category": "mean", "images": total, **report["mean"]}], [], _numbers(report["mean"])
    )


def _facts(record: dict[str, Any], but: Collection[str] = ()) -> list[str]:
    """The texts and numbers that stand directly in a record."""
    return [
        f"{_label(name)}: {_text(value)}"
        for name, value in record.items()
        if isinstance(value, str | int | float) and name not in but
    ]


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if _is_share(name, value)}


def _is_share(name: str, value: Any) -> bool:
    return isinstance(value, float) and not METRICS.isdisjoint(name.split("_"))


def markdown_table(rows: Iterable[dict[str, Any]]) -> str:
    """A table with a column for every name that a row has, metrics in percent."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    is_number = [any(isinstance(row.get(name), int | float) for row in rows) for name in names]
    lines = [map(_label, names), ["---:" if number else "---" for number in is_number]]
    lines += [[_cell(name, row.get(name)) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(name: str, value: Any) -> str:
    if _is_share(name, value):
        return f"{100 * value:.1f}"
    return _text(value).replace("|", "\\|")


def _text(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _label(name: str) -> str:
    return " ".join(word.upper() if word in METRICS else word for word in name.split("_"))


def flatten(record: dict[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    """Every number and text of nested records as rows of a two-column table."""
    for name, value in record.items():
        path = f"{prefix}{_label(name)}"
        if isinstance(value, dict):
            yield from flatten(value, f"{path}, ")
        else:
            yield {"what": path, "value": _text(value)}


def model_index(results: Iterable[ResultSet]) -> list[EvalResult]:
    """The older form, in the card's metadata."""
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=found.dataset_id or found.name.lower().replace(" ", "-"),
            dataset_name=found.name,
            metric_type=name,
            metric_name=f"{_label(name)}, percent",
            metric_value=round(100 * value, 1),
        )
        for found in results
        for name, value in found.metrics.items()
    ]


def eval_results_yaml(results: Iterable[ResultSet]) -> str:
    """
    The newer form, of `.eval_results/*.yaml`: one number a data set, its first. Empty where no set is a benchmark of
    the Hub, which that form is for.
    """
    entries = []
    for found in results:
        if found.dataset_id and found.task_id and found.metrics:
            name, value = next(iter(found.metrics.items()))
            entries.append(
                EvalResultEntry(
                    found.dataset_id, found.task_id, round(100 * value, 1), notes=f"{_label(name)}, percent"
                )
            )
    return yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False) if entries else ""
