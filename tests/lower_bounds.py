"""
`make lower-bounds`: installs the lowest version that pyproject.toml allows of every library, all of them together and
in a new environment. Then it scores a photograph and runs the quick part of the tests. Nothing stays.
"""

import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

TOP = Path(__file__).parents[1]
# Everything but the bundled model's recipe, whole browsers and the long runs of training.
QUICK = (
    *("tests/cli", "tests/common", "tests/data", "tests/demo/test_server.py", "tests/demo/test_photos.py"),
    *("tests/detection", "tests/evaluation", "tests/hub", "tests/training/test_loop.py", "tests/test_rooms.py"),
    *("tests/test_images_fbclip.py", "tests/test_processing_fbclip.py", "tests/test_pipeline_fbclip.py"),
    *("tests/test_auto_classes.py", "tests/test_modeling_fbclip.py"),
)


def main() -> None:
    """Prints the versions, and ends with the exit status of the first step that fails."""
    lowest = lowest_versions(tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"])
    print("\n".join(lowest), flush=True)
    with TemporaryDirectory(prefix="fbclip-lowest-") as folder:
        python, constraints = Path(folder, "env/bin/python"), Path(folder, "lowest.txt")
        constraints.write_text("\n".join(lowest), encoding="utf-8")
        run(sys.executable, "-m", "venv", python.parents[1])
        run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, "--editable", f"{TOP}[test]")
        run(python, "-m", "modeling_fbclip.cli", "detect", "demo/examples/wood_scratch.jpg", "--output", folder)
        run(python, "-m", "pytest", "-n", "2", *QUICK)


def lowest_versions(project: dict) -> list[str]:
    """`name==version` for each library of a project and its extras. ValueError if one has no lower bound."""
    needed = map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values()))
    return sorted({f"{one.name}=={_bound(one)}" for one in needed if one.name != project["name"]})


def _bound(requirement: Requirement) -> str:
    for specifier in requirement.specifier:
        if specifier.operator in (">=", "=="):
            return specifier.version
    raise ValueError(f"{requirement}: has no lower bound")


def run(*command: str | Path) -> None:
    """Runs one step; ends the script if it fails."""
    print("$", *command, flush=True)
    if status := subprocess.run(command, cwd=TOP, check=False).returncode:
        sys.exit(status)


if __name__ == "__main__":
    main()
