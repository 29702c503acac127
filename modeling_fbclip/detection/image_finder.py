"""Images named on a command line: files, folders and globs, walked lazily and always in the same order."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from modeling_fbclip.common.listing import LeftOut, describe, images_below, reason_to_leave_out
from modeling_fbclip.common.own_results import is_marked
from modeling_fbclip.files_fbclip import split_page

IN_OUTPUT = "in the output folder"


class ImageFinder(NamedTuple):
    """
    Finds the images that an argument names.

    Args:
        recursive: whether the folders inside a folder are walked as well.
        output: the folder that results are written to. Images in it are left out, unless the argument itself lies in
            it. Results are always left out.
    """

    recursive: bool
    output: Path

    def find(self, argument: str, left_out: LeftOut) -> Iterator[Path]:
        """
        The images of one argument. An existing file, or a page of it, is taken whatever its suffix and place. The
        number of files left out is added to `left_out`.
        """
        path = Path(argument)
        if path.is_dir():
            yield from self._walk(path, self._in_output(path), left_out)
        elif _names_a_file(argument):
            yield path
        else:
            from_output = self._in_output(fixed_folder(argument))
            # Path.glob takes no absolute pattern.
            for match in map(Path, sorted(glob.iglob(argument, recursive=True))):  # noqa: PTH207
                if match.is_dir():
                    yield from self._walk(match, from_output, left_out)
                elif reason := reason_to_leave_out(match.name, is_marked(match.parent)):
                    left_out[reason] += 1
                else:
                    yield from self._wanted([match], from_output, left_out)

    def require(self, arguments: Sequence[str]) -> None:
        """Raises ValueError for the first argument that names no image, before any work is done."""
        found = False
        for argument in arguments:
            if not argument:
                raise ValueError("an empty path names no image")
            left_out: LeftOut = Counter()
            if next(self.find(argument, left_out), None) is not None:
                found = True
            elif not Path(argument).is_dir():
                raise ValueError(f"{argument}: no such file or folder, and no image matches it")
            elif not self._in_output(Path(argument)):
                looked = "it or the folders in it" if self.recursive else "it (--recursive looks deeper)"
                raise ValueError(f"{argument}: no image in {looked}{describe(left_out)}")
        if not found:
            raise ValueError(f"{self.output}: holds nothing but earlier results")

    def _walk(self, folder: Path, from_output: bool, left_out: LeftOut) -> Iterator[Path]:
        return self._wanted(images_below(folder, left_out, self.recursive), from_output, left_out)

    def _wanted(self, images: Iterable[Path], from_output: bool, left_out: LeftOut) -> Iterator[Path]:
        for image in images:
            if not from_output and self._in_output(image.parent):
                left_out[IN_OUTPUT] += 1
            else:
                yield image

    def _in_output(self, folder: Path) -> bool:
        return folder.resolve().is_relative_to(self.output.resolve())


def fixed_folder(argument: str) -> Path:
    """The folder below which every image of an argument lies: a glob's part before its first wildcard."""
    path = Path(argument)
    if path.is_dir():
        return path
    if _names_a_file(argument):
        return path.parent
    parts = path.parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    if ".." in parts[fixed:]:
        raise ValueError(f"{argument}: '..' after a wildcard is not understood; write the folder out")
    return Path(*parts[:fixed])


def _names_a_file(argument: str) -> bool:
    """Whether it is a file's path, also one that cannot be read, or a page of a file as in `scan.tif#3`."""
    return os.path.lexists(argument) or Path(split_page(argument)[0]).is_file()


def common_folder(arguments: Sequence[str]) -> Path:
    """The deepest folder that holds every image of every argument."""
    return Path(os.path.commonpath([absolute(fixed_folder(argument)) for argument in arguments]))


def absolute(path: Path) -> Path:
    """The absolute path without `..`. Links are not followed, so that two links stay two names."""
    return Path(os.path.abspath(path))  # noqa: PTH100
