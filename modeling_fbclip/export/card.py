"""The card of an exported model, and the rows that tell how near it is."""

from pathlib import Path

from modeling_fbclip.common.markdown import markdown_table
from modeling_fbclip.export.parity import Parity
from modeling_fbclip.runtime_fbclip import LIBRARIES

CARD = """\
---
license: apache-2.0
library_name: {runtime}
tags: [anomaly-detection, anomaly-localization, zero-shot, clip, fb-clip]
---

# An FB-CLIP model for {library}

It finds how likely an image shows a defect, and where, without PyTorch. Weights are stored as {precision}.

```sh
pip install numpy pillow {library}
python inference.py photo.jpg
```

A row for each image goes to standard output, overlays and maps to the folder `outputs`; `python inference.py --help`
has the rest. `fbclip detect --model` takes this folder, too. The method is that of
[FB-CLIP](https://arxiv.org/abs/2603.19608).

Input of the graph: `pixel_values`, `(batch, 3, height, width)` in float32, prepared as `processor_config.json` says.
Outputs: `image_scores`, `(batch,)`, and `anomaly_maps`, `(batch, grid_height, grid_width)`. Any batch and any whole
number of patches from 2 a side will do.
{references}
## Compared with the model in PyTorch

On {images} images, each at the sizes {sizes}; `parity.json` has all digits.

{table}
"""

REFERENCES = """
Images are compared with the good ones in `references.safetensors`, so the graph has two more inputs in float32:
`references`, `(images, layers, grid_height, grid_width, channels)`, and `reference_scale`, `(13,)`: the numbers of
`scale` in `references.json`, then the reach in rows and in columns of patches. The whole image and each tile have
their own. The two outputs are then joint ones, and there are `reference_scores` and `reference_maps`, which are those
of the distances alone.
"""


def write_card(parity: Parity, has_references: bool, folder: Path) -> None:
    """Writes the card as `README.md`."""
    text = CARD.format(
        runtime=parity.runtime,
        library=LIBRARIES[parity.runtime],
        precision=parity.precision,
        images=parity.images,
        sizes=" and ".join(f"{height} x {width}" for height, width in parity.sizes),
        references=REFERENCES if has_references else "",
        table=markdown_table(("", "value"), parity_rows(parity), (False, True)),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def parity_rows(parity: Parity) -> list[tuple[str, str]]:
    """What is measured, and its value, as text."""
    seconds = [(f"seconds an image, {name}", f"{value:.3f}") for name, value in parity.seconds.items()]
    return [
        ("largest difference of scores", f"{parity.scores.largest:.1e}"),
        ("mean difference of scores", f"{parity.scores.mean:.1e}"),
        ("largest difference of maps", f"{parity.maps.largest:.1e}"),
        ("mean difference of maps", f"{parity.maps.mean:.1e}"),
        ("correlation of maps", f"{parity.map_correlation:.6f}"),
        ("changed decisions", f"{parity.changed_decisions} of {parity.images}"),
        *seconds,
    ]
