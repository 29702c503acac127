"""The images that `fbclip detect` is given: paths, lines of standard input, or a data set."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from modeling_fbclip.cli.errors import blamed_on

if TYPE_CHECKING:
    from modeling_fbclip.common.listing import LeftOut
    from modeling_fbclip.detection.processes import Processes
    from modeling_fbclip.detection.sources import Batch, Source


def add_stdin(paths: list[str] | None, processes: "Processes", left_out: "LeftOut") -> list[str]:
    """The paths, then those of standard input. Raises typer.BadParameter if there is none."""
    if processes.size > 1:  # each would get some of the lines
        raise typer.BadParameter("is for a single process; name folders or globs", param_hint="--stdin")
    paths = [*(paths or []), *_paths_in(sys.stdin, left_out)]
    if not paths:
        raise typer.BadParameter("standard input names no image", param_hint="--stdin")
    return paths


def _paths_in(lines: Iterable[str], left_out: "LeftOut") -> list[str]:
    """The path in each line that is not empty. Earlier results are left out: nobody has named them one by one."""
    from modeling_fbclip.common.listing import RESULT
    from modeling_fbclip.common.own_results import is_marked, is_result

    named = [line.rstrip("\r\n") for line in lines if line.strip()]
    wanted = [name for name in named if not is_result(Path(name).name, is_marked(Path(name).parent))]
    left_out[RESULT] += len(named) - len(wanted)
    return wanted


def require_one_kind(
    paths: list[str] | None,
    data: str | None,
    category: list[str] | None,
    of_data: Mapping[str, object],
    recursive: bool,
) -> None:
    """Raises typer.BadParameter unless there are either images or a data set, with fitting options."""
    if data is not None:
        if paths:
            raise typer.BadParameter("name images or a data set, not both", param_hint="--data")
        if recursive:
            raise typer.BadParameter("is for folders named by PATH", param_hint="--recursive")
        return
    if not paths:
        raise typer.BadParameter("name images, or a data set by --data", param_hint="PATH")
    for option, given in of_data.items():
        if given:
            raise typer.BadParameter("is for a data set, by --data", param_hint=option)
    if category is not None and len(category) > 1:
        raise typer.BadParameter("images named by PATH are of one category", param_hint="--category")


def open_paths(
    paths: list[str], recursive: bool, output: Path, category: list[str] | None, batch_size: int
) -> "Source":
    """Images named by paths, which are of one category or none. A mistake in them is blamed on PATH."""
    from modeling_fbclip.detection.image_finder import ImageFinder
    from modeling_fbclip.detection.sources import open_images

    with blamed_on("PATH"):
        finder = ImageFinder(recursive, output)
        source = open_images(paths, finder, category[0] if category else None, batch_size)
    return source._replace(batches=_blaming("PATH", source.batches))


def open_data(
    data: str,
    split: str | None,
    category: list[str] | None,
    layout: str | None,
    streaming: bool,
    batch_size: int,
    columns: dict[str, str],
) -> "Source":
    """A data set; a mistake in it is blamed on --data."""
    from modeling_fbclip.detection import sources

    with blamed_on("--data"):
        source = sources.open_data(data, split or "test", category, layout, streaming, batch_size, columns)
    return source._replace(batches=_blaming("--data", source.batches))


def _blaming(
    argument: str, batches: "Callable[[Processes], Iterator[Batch]]"
) -> "Callable[[Processes], Iterator[Batch]]":
    """The same batches; a mistake that comes to light while they are made is blamed on this argument."""

    def blamed(processes: "Processes") -> "Iterator[Batch]":
        with blamed_on(argument):
            yield from batches(processes)

    return blamed
