"""`fbclip demo`: mistakes are one line. That it serves, `tests/demo` shows."""

import os
import socket


def test_a_missing_model_is_one_line(fbclip, tmp_path):
    outcome = fbclip("demo", "--model", tmp_path / "nothing")
    assert outcome.status == 2
    assert outcome.err == (
        f"fbclip: Invalid value for --model: {tmp_path}/nothing cannot be loaded: {tmp_path}/nothing: no such folder, "
        "and a Hub id is of the form user/name\n"
    )


def test_a_port_in_use_is_one_line(fbclip, model_folder, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "of another demo")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = fbclip("demo", "--model", model_folder, "--port", taken.getsockname()[1])
    assert (outcome.status, outcome.out) == (2, "")
    assert os.environ["GRADIO_TEMP_DIR"] == "of another demo"
    assert outcome.err.endswith(" is in use, or cannot be listened on; name another\n")
    assert len(outcome.err.splitlines()) == 1


def test_two_folders_with_the_same_name_are_one_line(fbclip, model_folder, tmp_path):
    (tmp_path / "other/model").mkdir(parents=True)
    for options in (
        ("--models", model_folder, tmp_path / "other/model"),
        ("--model", model_folder, "--model", tmp_path / "other/model", "--allow-hub"),
    ):
        outcome = fbclip("demo", *options)
        assert (outcome.status, outcome.out) == (2, "")
        assert "--models: two of the models" in outcome.err
        assert "have one name; rename a folder" in outcome.err
