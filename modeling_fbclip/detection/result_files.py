"""Pictures that a command writes: where each goes."""

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.detection.image_finder import absolute

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
