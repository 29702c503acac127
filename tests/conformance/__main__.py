"""transformers' own tests of a model, run on FB-CLIP: `make conformance`.

The source distribution of the installed transformers comes from the package registry and is unpacked below `build/`.
Without the registry, this says so and ends well.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "conformance" / transformers.__version__
PACKAGE = FOLDER / "transformers_tests"
# What the tests import, but the source distribution lacks.
STAND_INS = {
    "__init__.py": "",
    "exporters/__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/__init__.py": "",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/__init__.py": "",
    "utils/test_configuration_utils.py": "config_common_kwargs = {'return_dict': False}\n",
    "../fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


def main() -> int:
    if not PACKAGE.is_dir():
        problem = fetch()
        if problem:
            print(f"conformance: skipped, since transformers' tests cannot be fetched: {problem}")
            return 0
    command = [sys.executable, "-m", "pytest", HERE, "--config-file", HERE / "pytest.ini", "-p", "skips"]
    with tempfile.TemporaryDirectory(prefix="fbclip-conformance-") as cache:
        own = {"PYTHONPATH": f"{HERE}{os.pathsep}{FOLDER}", "HF_HOME": cache, "HF_HUB_OFFLINE": "1", "TMPDIR": cache}
        return subprocess.run([*command, *sys.argv[1:]], check=False, env=os.environ | own).returncode


def fetch() -> str | None:
    """Unpacks the tests; the registry's complaint if it has none."""
    name = f"transformers=={transformers.__version__}"
    with tempfile.TemporaryDirectory() as place:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps"]
        found = subprocess.run([*pip, "--dest", place, name], capture_output=True, text=True, check=False)
        archives = list(Path(place).glob("*.tar.gz"))
        if found.returncode or not archives:
            lines = found.stderr.strip().splitlines() or ["no source distribution"]
            return lines[-1]
        with tarfile.open(archives[0]) as archive:
            archive.extractall(place, filter="data")
        (tests,) = Path(place).glob("transformers-*/tests")
        for file, text in STAND_INS.items():
            target = tests / file
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
        PACKAGE.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(tests, PACKAGE)
        shutil.copy(tests.parent / "fetch_hub_objects_for_ci.py", FOLDER)
    return None


if __name__ == "__main__":
    sys.exit(main())
