"""`make page` writes `demo/static/`: a page that computes the bundled model in the browser, for any web server."""

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import files
from pathlib import Path
from tempfile import TemporaryDirectory

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.detection.loading import load_detector
from modeling_fbclip.export import export

SOURCE = Path(__file__).with_name("page")
STATIC = Path(__file__).with_name("static")
FETCHED = Path(sys.prefix) / "onnxruntime-web"  # in the virtual environment, as other libraries
RUNTIME = "onnxruntime-web@1.30.0"
# Of the runtime's package: what a processor needs, without a graphics card.
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MODEL_FILES = ("model.onnx", "processor_config.json", "config.json", "LICENSE")
# A Space of the kind "static" reads the lines above the title.
README = """\
---
title: FB-CLIP in the browser
emoji: 🔍
colorFrom: blue
colorTo: red
sdk: static
license: apache-2.0
---

# FB-CLIP in the browser

Finds what is wrong in an image, on the visitor's own device. Any web server can serve this folder.

`ort/` is ONNX Runtime Web; its licence is beside it.
"""


def main() -> None:
    fetch_runtime()
    if "--fetch" in sys.argv:
        return
    detector = load_detector(None, "cpu")
    processor = detector.processor.with_views(tile=None, keep_aspect=False)  # the page sees images whole
    whole = processor.general_thresholds(False, processor.viewing.whole_mode())
    processor.threshold, processor.pixel_threshold = whole["threshold"], whole["pixel_threshold"]
    with TemporaryDirectory() as name:
        export(detector.model, processor, Path(name))
        build_page(Path(name), STATIC)
    print(f"python -m http.server --directory {STATIC}")


def fetch_runtime() -> None:
    """Takes the runtime from the package registry, once."""
    if all((FETCHED / name).is_file() for name in RUNTIME_FILES):
        return
    with TemporaryDirectory() as name, written_aside(FETCHED) as aside:
        subprocess.run(["npm", "pack", RUNTIME, "--silent"], cwd=name, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(name).glob("*.tgz")
        aside.mkdir()
        with tarfile.open(archive) as package:
            for wanted in RUNTIME_FILES:
                member = package.extractfile(f"package/dist/{wanted}")
                assert member is not None
                (aside / wanted).write_bytes(member.read())


def build_page(exported: Path, target: Path) -> None:
    """The page of an ONNX export, with the runtime and its licence."""
    (licence,) = (file for file in files("onnxruntime") or [] if str(file) == "onnxruntime/LICENSE")
    if target.is_dir():
        shutil.rmtree(target)
    with written_aside(target) as aside:
        shutil.copytree(SOURCE, aside)
        for name in MODEL_FILES:
            shutil.copyfile(exported / name, aside / name)
        (aside / "ort").mkdir()
        for name in RUNTIME_FILES:
            shutil.copyfile(FETCHED / name, aside / "ort" / name)
        shutil.copyfile(str(licence.locate()), aside / "ort" / "LICENSE")
        (aside / "README.md").write_text(README, encoding="utf-8")


if __name__ == "__main__":
    main()
