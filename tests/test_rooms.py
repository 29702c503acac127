"""The plan of the house: which room may import which, and what a start of the command line loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeling_fbclip import MODULES

TOP = Path(__file__).parents[1]
PACKAGE = "modeling_fbclip"
# Each room and the rooms that it may import. `flat` are the files that travel with a saved model, `public` the names
# of the package itself.
ROOMS = {
    "flat": {"flat"},
    "public": {"public", "flat", "detection"},
    "common": {"common", "public", "flat"},
    "data": {"data", "common", "public", "flat"},
    "detection": {"detection", "data", "common", "public", "flat"},
    "evaluation": {"evaluation", "detection", "data", "common", "public", "flat"},
    "training": {"training", "evaluation", "detection", "data", "common", "public", "flat"},
    "export": {"export", "detection", "data", "common", "public", "flat"},
    "demo": {"demo", "detection", "common", "public", "flat"},
    "hub": {"hub", "demo", "detection", "data", "common", "public", "flat"},
    "cli": {"cli", "hub", "demo", "export", "training", "evaluation", "detection", "data", "common", "public", "flat"},
    "recipe": {"recipe", "training", "evaluation", "detection", "data", "common", "public", "flat"},
}
# What the flat files may import, since whoever loads a saved model needs it.
TRAVELLING = {"torch", "transformers", "huggingface_hub", "safetensors", "numpy", "PIL", "scipy"}
# Libraries of the command line alone.
TERMINAL = {"typer", "rich"}


def modules() -> Iterator[tuple[str, str, Path]]:
    """Name, room and file of every module of the project."""
    for folder in (PACKAGE, "hub", "demo", "recipe"):
        for file in sorted((TOP / folder).rglob("*.py")):
            parts = file.relative_to(TOP).with_suffix("").parts
            name = ".".join(parts if folder in (PACKAGE, "recipe") else (PACKAGE, *parts)).removesuffix(".__init__")
            yield name, room_of(name), file


def room_of(module: str) -> str:
    first, _, rest = module.partition(".")
    if first != PACKAGE:
        return first
    room = rest.partition(".")[0]
    if room.endswith("_fbclip"):
        return "flat"
    return room if room in ROOMS else "public"


def home_of(module: str) -> str:
    """The module that a public name of the package comes from; other modules as they are."""
    package, _, name = module.partition(".")
    return f"{package}.{MODULES[name]}" if name in MODULES else module


def imports_of(name: str, file: Path) -> Iterator[str]:
    """Every module that a file imports, at its top, in its functions, or for type checkers."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in (PACKAGE, "recipe")


@pytest.mark.parametrize("room", ROOMS)
def test_imports_follow_the_plan(room: str) -> None:
    found = [(name, file) for name, own_room, file in modules() if own_room == room]
    assert found
    wrong = [
        f"{name} imports {module}"
        for name, file in found
        for module in imports_of(name, file)
        if is_ours(module) and room_of(home_of(module)) not in ROOMS[room]
    ]
    assert wrong == []


def test_flat_files_need_no_library_that_a_saved_model_lacks() -> None:
    allowed = TRAVELLING | sys.stdlib_module_names | {PACKAGE}
    for name, room, file in modules():
        if room == "flat":
            assert {module.partition(".")[0] for module in imports_of(name, file)} <= allowed, name


def test_only_the_command_line_has_options_and_prints() -> None:
    for name, room, file in modules():
        if room in ("cli", "recipe"):
            continue
        assert not {module.partition(".")[0] for module in imports_of(name, file)} & TERMINAL, name
        if room == "detection":
            calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
            assert "print" not in {call.id for call in calls if isinstance(call, ast.Name)}, name


@pytest.mark.parametrize(
    "program",
    [
        "import modeling_fbclip",
        "from modeling_fbclip.cli.app import run; run(['--help'])",
        "from modeling_fbclip.cli.app import run; run(['detect', '--help'])",
        "from modeling_fbclip.cli.app import run; run(['train', '--help'])",
    ],
)
def test_a_start_loads_neither_torch_nor_transformers(program: str) -> None:
    program += "; import sys; sys.exit(', '.join({'torch', 'transformers', 'numpy'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=TOP)
    assert (done.returncode, done.stderr) == (0, "")


USE_OF_THE_TASK = """
from transformers import AutoConfig, pipeline
from transformers.pipelines import PIPELINE_REGISTRY
PIPELINE_REGISTRY.check_task("zero-shot-anomaly-detection")
assert AutoConfig.for_model("fbclip").model_type == "fbclip"
"""


@pytest.mark.parametrize(
    "first",
    [
        "import modeling_fbclip, transformers",
        "import transformers, modeling_fbclip",
        "from modeling_fbclip import FBCLIPModel",
        "from modeling_fbclip.modeling_fbclip import FBCLIPModel",
        "from modeling_fbclip.processing_fbclip import FBCLIPProcessor",
        "import modeling_fbclip, importlib.util; importlib.util.find_spec('transformers')",
    ],
)
def test_the_task_is_registered_in_whatever_order_packages_are_imported(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", first + USE_OF_THE_TASK], capture_output=True, text=True, check=False, cwd=TOP
    )
    assert (done.returncode, done.stderr) == (0, "")
