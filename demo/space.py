"""The folder of a Hugging Face Space that serves a published model, ready to be uploaded."""

import shutil
from importlib.metadata import requires, version
from pathlib import Path

from huggingface_hub import SpaceCard, SpaceCardData
from packaging.requirements import Requirement
from packaging.version import Version

import modeling_fbclip

PACKAGE = Path(modeling_fbclip.__file__).parent
DISTRIBUTION = "modeling-fbclip"
PYTHON_VERSION = "3.11"
THUMBNAIL = Path(__file__).with_name("heatmaps.jpg")  # what is shown where the Space is linked to
# torch's own wheels without CUDA, a tenth of the size.
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"
# Libraries that only the command line and publishing need.
NOT_NEEDED = {"rich", "typer"}
# Rooms that the demo does not import. The demo itself is copied separately, because in a clone it is in another place.
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "*.pyi", "cli", "data", "demo", "evaluation", "export", "hub", "training"
)
LEFT_OUT_OF_DEMO = shutil.ignore_patterns(
    *("__pycache__", "*.pyi", "make_*", "page", "static", "large", "space.py"),
    *("heatmaps.jpg", "references.jpg", "tiles.jpg", "report.webp", "screenshot*"),
)

APP = '''"""The Space's page; Hugging Face runs this file."""

from modeling_fbclip.demo.server import serve_space

serve_space({model_id!r})
'''
BODY = """# {title}

Is something wrong in this image, and where? The page of [{model_id}](https://huggingface.co/{model_id}), an FB-CLIP
model for zero-shot anomaly detection. Drop an image, or take one with the camera. Images are not kept.

From Python:

```python
from gradio_client import Client, handle_file

score, label, anomaly_map = Client("{space_id}").predict(handle_file("photo.jpg"), api_name="/detect")
```
"""


def stage_space(folder: Path, model_id: str, title: str, space_id: str, hardware: str = "cpu-basic") -> None:
    """
    Writes a Space into an empty folder: the README with its metadata, the app, requirements pinned to the versions
    that are installed here, and this package, which is not on PyPI.

    Args:
        folder (`Path`): an existing, empty folder.
        model_id (`str`): Hub id of the model to serve. The Space offers the bundled model too.
        title (`str`): the Space's title.
        space_id (`str`): Hub id of the Space, for the example in its README.
        hardware (`str`): what it is suggested to run on. For a CPU, torch is installed without CUDA.
    """
    card = SpaceCardData(
        title=title,
        emoji="🔍",
        colorFrom="blue",
        colorTo="red",
        sdk="gradio",
        sdk_version=_public_version("gradio"),
        python_version=PYTHON_VERSION,
        app_file="app.py",
        license="apache-2.0",
        models=[model_id],
        tags=["anomaly-detection", "fb-clip"],
        short_description="Is something wrong in this image, and where?",
        suggested_hardware=hardware,
        preload_from_hub=[model_id],
        thumbnail=f"https://huggingface.co/spaces/{space_id}/resolve/main/{THUMBNAIL.name}",
    )
    body = BODY.format(title=title, model_id=model_id, space_id=space_id)
    SpaceCard(f"---\n{card.to_yaml()}\n---\n\n{body}").save(folder / "README.md")
    (folder / "app.py").write_text(APP.format(model_id=model_id), encoding="utf-8")
    wheels = [CPU_WHEELS] if hardware.startswith("cpu-") else []
    (folder / "requirements.txt").write_text("\n".join([*wheels, *pinned_requirements()]) + "\n", encoding="utf-8")
    shutil.copyfile(THUMBNAIL, folder / THUMBNAIL.name)
    package = folder / "modeling_fbclip"
    shutil.copytree(PACKAGE, package, ignore=LEFT_OUT)
    shutil.copytree(Path(__file__).parent, package / "demo", ignore=LEFT_OUT_OF_DEMO)


def pinned_requirements() -> list[str]:
    """The libraries that the package and its demo need, each as `name==version`."""
    needed = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    wanted = {item.name for item in needed if item.marker is None or item.marker.evaluate({"extra": "demo"})}
    return [f"{name}=={_public_version(name)}" for name in sorted(wanted - NOT_NEEDED)]


def _public_version(name: str) -> str:
    return Version(version(name)).public  # 2.13.0, not 2.13.0+cpu, which PyPI does not have
