"""`evaluation.json` in a model's folder: a report of `fbclip evaluate`, or the results on several data sets."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from modeling_fbclip.common.json_files import read_record
from modeling_fbclip.data.registry import identify

from .card_tables import as_label, as_text, is_metric

EVALUATION = "evaluation.json"
OWN_METHOD = "FB-CLIP"
ALL_KINDS = "all"  # of defects
EXPLAINED = {"size": "height and width in pixels at which maps and masks are compared"}
TASK = "image-segmentation"  # the nearest that the Hub has


class ResultSet(NamedTuple):
    """
    The results on one data set.

    Args:
        name: the data set's.
        facts: its other properties, as text: domain, images, licence, a warning.
        rows: one for each method or category; metrics in `[0, 1]` under their names.
        kinds: the same for each kind of defect; may be empty.
        metrics: those of the model itself on the whole data set.
        dataset_id, task_id: the data set as a benchmark of the Hub, if it is one.
        mean: the kind of mean, `"macro"` for that of the categories.
    """

    name: str
    facts: list[str]
    rows: list[dict[str, Any]]
    kinds: list[dict[str, Any]]
    metrics: dict[str, float]
    dataset_id: str | None = None
    task_id: str | None = None
    mean: str | None = None


class EvaluationReport(NamedTuple):
    """The results on each data set, and the facts that hold for all of them, such as the machine."""

    facts: list[str]
    sets: list[ResultSet]


def read_report(path: Path) -> EvaluationReport:
    r"""
    Raises:
        `ValueError`: The file is no report of an evaluation.
    """
    report = read_record(path)
    try:
        sets = [_result_set(found) for found in report["sets"]] if "sets" in report else [_own_set(report)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no report of `fbclip evaluate` ({type(error).__name__}: {error}).") from error
    return EvaluationReport(_facts(report), sets)


def _result_set(found: dict[str, Any]) -> ResultSet:
    """One of several sets, with a row for each method and kind of defect."""
    kinds = [row for row in found["rows"] if row.get("kind", ALL_KINDS) != ALL_KINDS]
    rows = [{name: row[name] for name in row if name != "kind"} for row in found["rows"] if row not in kinds]
    own = [row for row in rows if str(row.get("method", "")).startswith(OWN_METHOD)]
    # A variant of the method has a longer name than the method itself.
    metrics = _metrics(min(own, key=lambda row: len(row["method"]))) if own else {}
    benchmark = found.get("dataset_id"), found.get("task_id")
    return ResultSet(str(found["name"]), _facts(found), rows, kinds, metrics, *benchmark)


def _own_set(report: dict[str, Any]) -> ResultSet:
    """The set of a report of `fbclip evaluate`. Its categories identify the data set, if no other can have them."""
    categories, counts = report["categories"], report["counts"]
    rows = [{"category": name, "images": counts[name]["images"], **metrics} for name, metrics in categories.items()]
    total = sum(count["images"] for count in counts.values())
    rows.append({"category": "mean", "images": total, **report["mean"]})
    facts: dict[str, Any] = {"images": total, "mean": "macro, each category counts the same"}
    found = identify(categories)
    known = found.known if found and found.is_certain else None
    if known:
        if missing := len(known.categories) - len(categories):
            facts["without"] = f"{missing} of its {len(known.categories)} categories"
        facts |= {"domain": known.domain, "licence": known.licence, "source": known.source}
    facts |= report.get("settings", {})
    lines = [_fact(name, value) for name, value in facts.items()]
    overlap = report.get("training_overlap")
    if overlap and "unknown" in overlap:
        lines.append(f"whether it was trained on these images is unknown: {as_text(overlap['unknown'])}")
    elif overlap and overlap["images"]:
        lines.append(f"**not zero-shot**: trained on {overlap['images']} of these {overlap['of']} images")
    title = known.title if known else "own data"
    benchmark = report.get("dataset_id"), report.get("task_id")
    return ResultSet(title, lines, rows, [], _metrics(report["mean"]), *benchmark, mean="macro")


def _facts(record: dict[str, Any]) -> list[str]:
    """The texts and numbers of a record, without its names."""
    return [
        _fact(name, value)
        for name, value in record.items()
        if isinstance(value, str | int | float) and name not in ("name", "dataset_id", "task_id")
    ]


def _fact(name: str, value: Any) -> str:
    explained = f" ({EXPLAINED[name]})" if name in EXPLAINED else ""
    return f"{as_label(name)}: {as_text(value)}{explained}"


def _metrics(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if is_metric(name, value)}


def model_index(sets: Iterable[ResultSet], seed: int | None = None) -> list[EvalResult]:
    """The metrics on each data set, for the metadata of the card, with the kind of mean and the training's seed."""
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=found.dataset_id or found.name.lower().replace(" ", "-"),
            dataset_name=found.name,
            metric_type=name,
            metric_name=f"{as_label(name)}, percent",
            metric_value=round(100 * value, 1),
            metric_args=_how(found, seed) or None,
        )
        for found in sets
        for name, value in found.metrics.items()
    ]


def _how(found: ResultSet, seed: int | None) -> dict[str, Any]:
    """How a metric came about: the kind of mean, and the seed of the training."""
    return {name: value for name, value in (("mean", found.mean), ("seed", seed)) if value is not None}


def eval_results_yaml(sets: Iterable[ResultSet], seed: int | None = None) -> str:
    """
    The first metric on each benchmark of the Hub, for `.eval_results/*.yaml`. Empty if no data set is a benchmark.
    """
    entries = []
    for found in sets:
        if found.dataset_id and found.task_id and found.metrics:
            name, value = next(iter(found.metrics.items()))
            how = [f"{what} {value}" for what, value in _how(found, seed).items()]
            notes = ", ".join([as_label(name), "percent", *how])
            entries.append(EvalResultEntry(found.dataset_id, found.task_id, round(100 * value, 1), notes=notes))
    return yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False) if entries else ""
