"""The record of a training run: data, arguments, result and environment. It is saved beside the model's weights."""

import hashlib
import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.progress import progress_bar
from modeling_fbclip.common.provenance import UNKNOWN_BEFORE
from modeling_fbclip.data.decoding import open_image, read_truth, row_name, undecoded
from modeling_fbclip.data.oddities import Size, mask_problems, tell
from modeling_fbclip.detection.loading import BUNDLED
from modeling_fbclip.detection.processes import Processes
from modeling_fbclip.detection.threads import THREADS, map_in_threads
from modeling_fbclip.digests_fbclip import image_digest
from modeling_fbclip.masks_fbclip import UNKNOWN
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

PACKAGES = ("modeling-fbclip", "torch", "transformers", "accelerate", "datasets", "numpy", "pillow", "safetensors")


class RowDigest(NamedTuple):
    """
    What was read of one row.

    Args:
        image: digest of the image's pixels.
        row: digest of pixels, label and mask.
        marked: share of the mask's known pixels that are anomalous; `None` without a mask.
        has_other_aspect: whether the mask has another ratio of width to height than the image.
        oddities: what is odd in the mask, each with the image's name.
    """

    image: str
    row: str
    marked: float | None
    has_other_aspect: bool
    oddities: list[tuple[str, str]]

    @property
    def has_mask(self) -> bool:
        return self.marked is not None

    @property
    def shows_both(self) -> bool:
        """Whether the mask has normal and anomalous pixels."""
        return self.marked is not None and 0 < self.marked < 1


def digest_rows(rows: Dataset, processor: FBCLIPProcessor, accelerator: Accelerator) -> list[RowDigest]:
    """Reads every image and mask once, each process its share. ValueError names an unreadable file before training."""
    mine = Processes(accelerator.process_index, accelerator.num_processes).share(range(len(rows)))
    files = undecoded(rows)
    digests = []
    with progress_bar(len(mine), "reading images", visible=accelerator.is_local_main_process) as bar:
        for digest in map_in_threads(lambda index: _digest_row(files[index], index, processor), mine, limit=THREADS):
            digests.append(digest)
            bar.update()
    everyones = dict(gather_object(list(zip(mine, digests, strict=True))))
    everybody = [everyones[index] for index in range(len(rows))]
    if accelerator.is_main_process:
        tell(oddity for digest in everybody for oddity in digest.oddities)
    return everybody


def _digest_row(row: dict[str, Any], index: int, processor: FBCLIPProcessor) -> RowDigest:
    name, label = row_name(row, index), row["label"]
    image = processor.read_image(open_image(row["image"], name), name)
    mask = read_truth(row, index, processor.max_megapixels)
    digest, mask_bytes = image_digest(image), b"" if mask is None else mask.pixels.tobytes()
    whole = hashlib.blake2b(f"{digest} {label} ".encode() + mask_bytes, digest_size=16).hexdigest()
    if mask is None:
        return RowDigest(digest, whole, None, False, [])
    size = (image.height, image.width)
    problems = [(name, problem) for problem in mask_problems(mask, size, label, processor.image_size)]
    known = mask.pixels[mask.pixels != UNKNOWN]
    marked = float((known == 1).mean()) if known.size else 0.0
    return RowDigest(digest, whole, marked, _differ_in_aspect(mask.pixels.shape, size), problems)


def _differ_in_aspect(size: tuple[int, ...], other: Size) -> bool:
    """Whether no scale makes one size of the other, when sides may be off by a pixel."""
    return abs(size[0] * other[1] - size[1] * other[0]) > sum(other)


def fingerprint(digests: Sequence[RowDigest]) -> str:
    """One digest of all rows, whatever their order."""
    return hashlib.blake2b("".join(sorted(digest.row for digest in digests)).encode(), digest_size=16).hexdigest()


def model_title(name_or_path: str | None) -> str | None:
    """
    A model's name in a record: `"bundled"`, its Hub id, or its folder's name without the rest of the path, which would
    show the user's machine. `None` for a model made in memory.
    """
    if not name_or_path:
        return None
    path = Path(name_or_path)
    if path.resolve() == BUNDLED.resolve():
        return "bundled"
    return name_or_path if is_hub_id(name_or_path) and not path.exists() else path.resolve().name


def training_record(
    rows: Dataset,
    digests: Sequence[RowDigest],
    arguments: dict[str, Any],
    result: dict[str, Any],
    accelerator: Accelerator,
    source: str | None,
    trained_before: frozenset[str] | str | None,
) -> dict[str, Any]:
    """The record that the card and the evaluation read, as JSON values. It continues that of `trained_before`."""
    labels = Counter(rows["label"])
    known_before = trained_before if isinstance(trained_before, frozenset) else frozenset()
    return {
        "arguments": arguments,
        "data": {
            "hub_id": source,
            **({} if rows.split is None else {"split": str(rows.split)}),
            "fingerprint": fingerprint(digests),
            "images": len(rows),
            "normal": labels[0],
            "anomalous": labels[1],
            "masks": sum(digest.has_mask for digest in digests),
            "categories": sorted({name for name in rows["category"] if name is not None})
            if "category" in rows.column_names
            else [],
        },
        "result": result,
        "environment": {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "device": accelerator.device.type,
            "num_processes": accelerator.num_processes,
            "packages": {name: version(name) for name in PACKAGES},
        },
        "image_digests": sorted({digest.image for digest in digests} | known_before),
        **({UNKNOWN_BEFORE: trained_before} if isinstance(trained_before, str) else {}),
    }
