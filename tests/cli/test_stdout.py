"""What is printed reaches its reader whole, or the command says in one line that it does not; never a traceback."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest
import typer

from modeling_fbclip.cli.stdout import READER_GONE, take_each


@pytest.fixture
def commands(model_folder, save_photograph, tmp_path, monkeypatch):
    """Commands that print, by their names."""
    monkeypatch.chdir(tmp_path)
    for index in range(9):
        save_photograph(f"data/good/{index}.png", seed=index)
    save_photograph("data/bent/0.png", seed=20)
    model = ("--model", model_folder)
    return {
        "detect": ("detect", "data/good/0.png", *model),
        "detect csv": ("detect", "data/good/0.png", "--format", "csv", *model),
        "evaluate": ("evaluate", "data", *model, "--size", 32, "--output", "report.json"),
        "calibrate": ("calibrate", "data", *model, "--target-fpr", 0.1, "--output", "calibrated"),
        "push": ("push", model_folder, "owner/name", "--dry-run"),
        "datasets": ("datasets",),
        "check": ("datasets", "check", "data", "--format", "json"),
    }


@pytest.fixture
def run_into(fbclip, monkeypatch):
    """Runs a command whose stdout is the file of this descriptor."""

    def run(descriptor, *arguments):
        with os.fdopen(descriptor, "w", encoding="utf-8") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            return fbclip(*arguments)

    return run


def test_a_reader_that_has_gone_ends_every_command_quietly(commands, run_into):
    for name, arguments in commands.items():
        reader, writer = os.pipe()
        os.close(reader)
        outcome = run_into(writer, *arguments)
        assert outcome.status == READER_GONE, name
        assert "rror" not in outcome.err, name
    assert Path("report.json").is_file()
    assert Path("calibrated/config.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_blamed_on_it_alone(commands, run_into):
    for name, arguments in commands.items():
        outcome = run_into(os.open("/dev/full", os.O_WRONLY), *arguments)
        assert outcome.status == 2, name
        last = outcome.err.splitlines()[-1]
        assert last == "fbclip: Invalid value for stdout: cannot be written to: No space left on device", name
    assert Path("report.json").is_file()


def test_each_step_is_taken_and_the_first_error_raised():
    taken = []

    def fail(name):
        taken.append(name)
        raise typer.BadParameter(name)

    with pytest.raises(typer.BadParameter, match="first"):
        take_each(partial(fail, "first"), partial(fail, "second"), partial(taken.append, "third"))
    assert taken == ["first", "second", "third"]
