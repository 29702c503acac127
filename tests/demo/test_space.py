"""The folder of the Space is complete, and runs in a new environment."""

import ast
import json
import os
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from gradio_client import Client, handle_file
from modeling_fbclip.demo.space import stage_space
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modeling_fbclip import ZeroShotAnomalyDetectionPipeline, load_bundled

from .conftest import EXAMPLES, ROOT, wait_for

IMPORT = """
import json, sys
import modeling_fbclip.demo.server
from modeling_fbclip.demo.models import BUNDLED, Models
Models().get(BUNDLED)
found = [module.__file__ for name, module in sys.modules.items() if name.startswith("modeling_fbclip")]
print(json.dumps(found))
"""


@pytest.fixture
def staged(tmp_path) -> Path:
    space = tmp_path / "space"
    space.mkdir()
    stage_space(space, "owner/name", "A title: with a colon", "owner/its-space")
    return space


def test_the_example_in_the_readme_calls_this_space(staged):
    assert 'Client("owner/its-space").predict(' in (staged / "README.md").read_text(encoding="utf-8")


def test_the_staged_package_has_all_that_the_demo_imports_and_no_other_rooms(staged):
    package = staged / "modeling_fbclip"
    assert not [name for name in ("data", "evaluation", "hub", "training") if (package / name).exists()]
    assert not (package / "cli" / "push.py").exists()
    # A module that is missing in the folder would be imported from the installed package.
    done = subprocess.run([sys.executable, "-c", IMPORT], cwd=staged, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [file for file in json.loads(done.stdout) if not Path(file).is_relative_to(staged)]


def test_a_space_with_a_gpu_gets_torch_with_cuda(tmp_path):
    stage_space(tmp_path, "owner/name", "Title", "owner/its-space", hardware="t4-small")
    assert not [line for line in (tmp_path / "requirements.txt").read_text().splitlines() if line.startswith("-")]
    assert "suggested_hardware: t4-small" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_libraries_that_the_demo_imports_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["demo"]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    nodes = [node for file in (ROOT / "demo").glob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    owners = packages_distributions()
    found = {owner for name in imported for owner in owners.get(name.partition(".")[0], [])}
    assert {canonicalize_name(name) for name in found} - {"modeling-fbclip"} <= declared


def test_the_staged_space_starts_in_a_new_environment_and_answers(staged, tmp_path):
    _, header, _ = (staged / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    front = yaml.safe_load(header)
    assert front["title"] == "A title: with a colon"
    assert (front["sdk"], front["python_version"], front["app_file"]) == ("gradio", "3.11", "app.py")
    assert front["models"] == front["preload_from_hub"] == ["owner/name"]
    assert front["suggested_hardware"] == "cpu-basic"
    assert 10 < len(front["short_description"]) <= 60  # the Hub's limit
    thumbnail = front["thumbnail"].removeprefix("https://huggingface.co/spaces/owner/its-space/resolve/main/")
    assert (staged / thumbnail).stat().st_size > 1000
    wheels, *pins = (staged / "requirements.txt").read_text().splitlines()
    assert wheels.startswith("--extra-index-url ")  # torch without CUDA
    assert wheels.endswith("/whl/cpu")
    assert all(pin.count("==") == 1 and "+" not in pin for pin in pins)
    assert f"gradio=={front['sdk_version']}" in pins
    names = [str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()]
    assert not [name for name in names if "__pycache__" in name or "/recipe/" in name or name.endswith(".pyi")]
    assert len([name for name in names if "/examples/" in name and name.endswith(".jpg")]) == 12

    (tmp_path / "pins.txt").write_text("\n".join(pins))
    python = new_environment(tmp_path / "environment", tmp_path / "pins.txt")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    settings = {"GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([python, "app.py"], cwd=staged, env=kept | settings, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: process.poll() is not None or answers(port), seconds=120)
        client = Client(f"http://127.0.0.1:{port}/", verbose=False, download_files=tmp_path / "downloads")
        score, label, anomaly_map = client.predict(handle_file(EXAMPLES / "wood_scratch.jpg"), api_name="/detect")
        client.close()
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    model, processor = load_bundled()
    expected = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)(EXAMPLES / "wood_scratch.jpg")
    assert (score, label) == (pytest.approx(expected["score"], abs=1e-4), expected["label"])
    assert Path(anomaly_map).stat().st_size > 0
    # The Hub cannot be reached here, so the bundled model is served.
    assert "owner/name cannot be loaded" in errors
    assert "Serving the model 'bundled (tiny)' instead." in errors


def new_environment(folder, requirements):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--requirement", requirements], check=True, cwd=folder)
    return python


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
