"""Files that a command writes: where each goes, and never half of one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from modeling_fbclip.cli.inputs import absolute

OVERLAY_SUFFIX = ".overlay.png"
MAP_SUFFIX = ".map.png"


class ResultFolder(NamedTuple):
    """
    Names and writes the pictures of each image. A name is the image's own, suffix and all, in the folder it
    has below `inputs`, so that no two images share one and a run writes the same names every time.

    Args:
        inputs: absolute path of a folder that holds every image.
        output: where the pictures go.
    """

    inputs: Path
    output: Path

    def save(self, image_path: str, suffix: str, picture: Image.Image) -> Path:
        """Writes one picture as PNG and returns its path."""
        relative = absolute(Path(image_path)).relative_to(self.inputs)
        target = self.output / relative.with_name(relative.name + suffix)
        with written_aside(target) as aside:
            picture.save(aside, format="PNG")
        return target


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """
    A path beside `target` to write a file or a folder to: it becomes `target` when all went well, and goes away
    when not. Of a folder that is there already, files of the same names are replaced and the others stay. What a
    killed run has left of the same target goes away too.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.fbclip.tmp")
    _remove(aside)
    try:
        yield aside
        if aside.is_dir() and target.is_dir():
            for file in aside.iterdir():
                file.replace(target / file.name)
        else:
            aside.replace(target)
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
