"""The command line as a whole: help, version, and a real process on a pipe and on a terminal."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from importlib.metadata import version

import pytest

from modeling_fbclip.cli.app import app

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("arguments", [[], ["--help"], *[[name, "--help"] for name in COMMANDS]])
def test_every_help_has_an_example(fbclip, arguments):
    outcome = fbclip(*arguments)
    assert (outcome.status, outcome.err) == (0, "")
    assert re.search(r"Example:\s+fbclip ", outcome.out)
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_version(fbclip):
    assert fbclip("--version") == (0, f"fbclip {version('modeling-fbclip')}\n", "")


def test_an_unknown_command_is_one_line(fbclip):
    assert fbclip("detekt") == (2, "", "fbclip: No such command 'detekt'. Did you mean 'detect'?\n")


def command(*arguments):
    return [sys.executable, "-m", "modeling_fbclip.cli", *map(str, arguments)]


def test_a_process_on_pipes_writes_rows_to_stdout_and_one_summary_to_stderr(model_folder, save_photograph, tmp_path):
    save_photograph(tmp_path / "parts/1.png")
    (tmp_path / "parts/2.png").touch()
    ran = subprocess.run(
        command("detect", "parts", "--model", model_folder, "--format", "json"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert [row["path"] for row in json.loads(ran.stdout)] == ["parts/1.png", "parts/2.png"]
    assert ran.stderr.splitlines() == [ran.stderr.strip()]
    assert ran.stderr.startswith("2 images, ")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
def test_a_bar_on_a_terminal_stays_out_of_the_rows(model_folder, save_photograph, tmp_path):
    for name in "ab":
        save_photograph(tmp_path / f"parts/{name}.png")
    terminal, stderr = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = subprocess.Popen(
        command("detect", "parts", "--model", model_folder, "--format", "csv"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(stderr)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way of saying that the other end is closed
        while chunk := os.read(terminal, 4096):
            shown += chunk
    os.close(terminal)
    rows, _ = process.communicate()
    assert process.returncode == 0
    assert [line.split(",")[0] for line in rows.splitlines()] == ["path", "parts/a.png", "parts/b.png"]
    assert b"detect: " in shown
    assert b"2/2" in shown
    assert "\x1b" not in rows


def test_the_bundled_model_detects(fbclip, save_photograph, tmp_path):
    photo = save_photograph(tmp_path / "photo.png", width=64, height=48)
    outcome = fbclip("detect", photo, "--output", tmp_path / "out", "--format", "json")
    assert outcome.status == 0, outcome.err
    (row,) = json.loads(outcome.out)
    assert 0 <= row["score"] <= 1
    assert row["label"] in ("normal", "anomalous")


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.2, 2.0])
def test_an_interrupt_at_the_start_ends_without_a_traceback(seconds, save_photograph, tmp_path):
    photo = save_photograph(tmp_path / "photo.png", width=2000, height=2000)
    photos = [photo] * 50  # so that it is still at work
    with subprocess.Popen(
        command("detect", *photos, "--output", tmp_path / "out"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_closed_stdout_is_no_error(form, model_folder, save_photograph, tmp_path):
    photo = save_photograph(tmp_path / "photo.png")
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command("detect", photo, "--model", model_folder, "--format", form)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (0, 1)
