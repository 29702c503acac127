"""A killed run resumes to the same weights, bit for bit, and each checkpoint is complete or does not exist."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.training import FBCLIPTrainingArguments, loop, train
from modeling_fbclip.training.judging import Candidate
from modeling_fbclip.training.log import read_log
from training.conftest import make_parts, trained_weights


class InterruptionError(Exception):
    """Raised instead of killing the process."""


@pytest.fixture
def stop_after(monkeypatch):
    """Makes the next run stop after this number of steps."""

    def stop_after(steps):
        done = iter(range(steps))

        def step(*arguments):
            if next(done, None) is None:
                raise InterruptionError
            return training_step(*arguments)

        monkeypatch.setattr(loop, "training_step", step)

    training_step = loop.training_step
    yield stop_after
    monkeypatch.setattr(loop, "training_step", training_step)


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


ARGUMENTS = {
    "epochs": 2,
    "checkpoint_steps": 2,
    "batch_size": 2,
    "lr_scheduler": "cosine",
    "warmup_steps": 2,
    "max_grad_norm": 0.5,
    "validation_fraction": 0.3,
}


def test_a_run_killed_at_any_step_resumes_to_the_same_weights(run, tmp_path, stop_after):
    parts = make_parts(tmp_path / "parts", count=9)
    expected = trained_weights(run(parts, "whole", **ARGUMENTS))
    log = read_log(tmp_path / "whole")
    steps = max(line["step"] for line in log)
    assert steps == 6
    for kill in range(steps):
        stop_after(kill)
        with pytest.raises(InterruptionError):
            run(parts, f"killed-{kill}", resume="auto", **ARGUMENTS)
        stop_after(steps)
        resumed = run(parts, f"killed-{kill}", resume="auto", **ARGUMENTS)
        assert_same_weights(trained_weights(resumed), expected)
        again = read_log(tmp_path / f"killed-{kill}")
        assert [without_time(line) for line in again] == [without_time(line) for line in log]


def without_time(line):
    return {name: value for name, value in line.items() if name != "images_per_second"}


def test_synthetic_anomalies_and_mixed_precision_resume_to_the_same_weights(run, parts, stop_after):
    precision = "fp16" if torch.cuda.is_available() else "bf16"  # fp16 scales the loss, and the scale is resumed too
    arguments = {"epochs": 2, "batch_size": 1, "checkpoint_steps": 1, "synthetic": True, "mixed_precision": precision}
    expected = trained_weights(run(parts, "whole", **arguments))
    stop_after(4)
    with pytest.raises(InterruptionError):
        run(parts, "killed", **arguments)
    stop_after(9)
    assert_same_weights(trained_weights(run(parts, "killed", resume="auto", **arguments)), expected)


def test_a_process_killed_with_sigkill_ends_with_the_same_weights(tiny_model, run, tmp_path):
    parts = make_parts(tmp_path / "parts")
    parts.save_to_disk(tmp_path / "data")
    tiny_model.save_pretrained(tmp_path / "model")
    FBCLIPProcessor.from_config(tiny_model.config).save_pretrained(tmp_path / "model")
    arguments = {"epochs": 10, "batch_size": 2, "checkpoint_steps": 4, "learning_rate": 1e-3}
    command = [sys.executable, "-m", "modeling_fbclip.cli", "train", tmp_path / "data", "--model", tmp_path / "model"]
    for name, value in ({"output": tmp_path / "killed"} | arguments).items():
        command += [f"--{name.replace('_', '-')}", value]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE)
    while process.poll() is None and len(read_log(tmp_path / "killed")) < 10:
        time.sleep(0.001)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert 10 <= len(read_log(tmp_path / "killed")) < 30
    assert not (tmp_path / "killed/config.json").exists()

    resumed = run(parts, "killed", resume="auto", **arguments)
    assert len(read_log(tmp_path / "killed")) == 30
    assert_same_weights(trained_weights(resumed), trained_weights(run(parts, "whole", **arguments)))
    assert_same_weights(
        trained_weights(FBCLIPModel.from_pretrained(tmp_path / "killed")),
        trained_weights(FBCLIPModel.from_pretrained(tmp_path / "whole")),
    )


def checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("stopped_at", [1, 2])
def test_a_run_stopped_while_it_judges_resumes_to_the_same(run, tmp_path, monkeypatch, stopped_at):
    parts, arguments = make_parts(tmp_path / "parts", count=24), {"epochs": 2, "augment": True}
    expected, judge, calls = trained_weights(run(parts, "whole", **arguments)), loop.judge, iter(range(9))

    def interrupted(*args):
        found = judge(*args)
        if next(calls) == stopped_at:
            raise InterruptionError
        return found

    monkeypatch.setattr(loop, "judge", interrupted)
    with pytest.raises(InterruptionError):
        run(parts, **arguments)
    assert_same_weights(trained_weights(run(parts, resume="auto", **arguments)), expected)
    whole, resumed = (json.loads((tmp_path / name / "training_record.json").read_text()) for name in ("whole", "out"))
    assert resumed["epochs"] == whole["epochs"]


def test_a_run_stopped_before_its_first_checkpoint_has_one_line_a_step(run, parts, tmp_path, monkeypatch):
    def interrupted(*_):
        raise InterruptionError

    save = loop.Checkpoints.save
    monkeypatch.setattr(loop.Checkpoints, "save", interrupted)
    with pytest.raises(InterruptionError):
        run(parts, validation_fraction=0.34)
    monkeypatch.setattr(loop.Checkpoints, "save", save)
    run(parts, validation_fraction=0.34, resume="auto")
    assert [line["step"] for line in read_log(tmp_path / "out")] == [0, 1, 1, 2, 2, 3, 3]


def test_the_checkpoint_of_a_finished_run_resumes_in_another_folder(run, parts, tmp_path):
    expected = trained_weights(run(parts, "first", epochs=1))
    checkpoint = tmp_path / "first/checkpoints" / checkpoints(tmp_path / "first")[-1]
    assert_same_weights(trained_weights(run(parts, "second", epochs=1, resume=checkpoint)), expected)


def test_old_checkpoints_are_removed_and_the_best_is_kept(run, parts, tmp_path, monkeypatch):
    losses = iter([4.0, 3.0, 1.0, 2.0, 4.0, 1.0])
    monkeypatch.setattr(loop, "judge", lambda *args: Candidate(*args[5:], next(losses), None, None, "cls"))
    model = run(parts, epochs=5, batch_size=2, checkpoint_limit=2, validation_fraction=0.34)
    assert checkpoints(tmp_path / "out") == [f"step-{step:09d}" for step in (4, 8, 10)]
    record = json.loads((tmp_path / "out/training_record.json").read_text())
    chosen = {"steps": 10, "checkpoint": "step-000000004", "epoch": 2}
    assert {name: record["result"][name] for name in chosen} == chosen
    best = load_file(tmp_path / "out/checkpoints/step-000000004/model.safetensors")
    assert_same_weights(trained_weights(model), best)
    assert_same_weights(trained_weights(FBCLIPModel.from_pretrained(tmp_path / "out")), best)


def test_resuming_an_earlier_checkpoint_removes_later_ones(run, parts, tmp_path, stop_after):
    arguments = {"epochs": 2, "checkpoint_steps": 1, "checkpoint_limit": 2}
    run(parts, **arguments)
    assert checkpoints(tmp_path / "out") == ["step-000000003", "step-000000004"]
    earlier = tmp_path / "out/checkpoints/step-000000003"
    kept = earlier.rename(tmp_path / "step-000000001")  # renamed, because the limit removed the real one
    progress = json.loads((kept / "progress.json").read_text())
    (kept / "progress.json").write_text(json.dumps(progress | {"step": 1}))
    stop_after(1)
    with pytest.raises(InterruptionError):
        run(parts, resume=kept, **arguments)
    assert checkpoints(tmp_path / "out") == ["step-000000001", "step-000000002"]
    stop_after(9)
    run(parts, resume="auto", **arguments)
    assert checkpoints(tmp_path / "out") == ["step-000000003", "step-000000004"]
    assert [line["step"] for line in read_log(tmp_path / "out")] == [1, 2, 3, 4]


def test_a_checkpoint_without_its_best_is_refused(run, parts, tmp_path):
    arguments = {"epochs": 2, "validation_fraction": 0.34}
    run(parts, "first", **arguments)
    with pytest.raises(
        ValueError, match=r"step-000000002: step-\d+, the best so far, is not in .*second/checkpoints;"
    ):
        run(parts, "second", resume=tmp_path / "first/checkpoints/step-000000002", **arguments)


def test_a_full_disk_leaves_the_last_checkpoint_intact(run, parts, tmp_path, stop_after):
    arguments = {"epochs": 2, "batch_size": 2, "checkpoint_steps": 1}
    expected = trained_weights(run(parts, "whole", **arguments))
    stop_after(2)
    with pytest.raises(InterruptionError):
        run(parts, **arguments)
    stop_after(9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # less than a checkpoint's files
    try:
        with pytest.raises(OSError, match=r"step-000000003: cannot be written .*step-000000002\."):
            run(parts, resume="auto", **arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(tmp_path / "out") == ["step-000000000", "step-000000001", "step-000000002"]
    assert_same_weights(trained_weights(run(parts, resume="auto", **arguments)), expected)


def test_a_full_disk_is_an_error_that_names_the_log(run, parts, monkeypatch):
    monkeypatch.setattr(loop.Checkpoints, "save", lambda *_: None)
    arguments = {"cache_features": "none"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))  # room for a line or two
    try:
        with pytest.raises(OSError, match=r"^.*log\.jsonl: cannot be written \(File too large\); free some space and"):
            run(parts, **arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_half_written_files_of_a_killed_run_are_ignored(run, parts, tmp_path):
    arguments = {"epochs": 2}
    run(parts, **arguments)
    half = tmp_path / "out/checkpoints/.step-000000099.partial"
    half.mkdir()
    (half / "model.safetensors").touch()
    with (tmp_path / "out/log.jsonl").open("a") as log:
        log.write('{"step": 5, "lo')
    run(parts, resume="auto", **arguments)
    assert [line["step"] for line in read_log(tmp_path / "out")] == [1, 2, 3, 4]


def test_a_run_with_other_settings_or_data_is_not_resumed(run, parts, tmp_path):
    run(parts, epochs=1)
    with pytest.raises(ValueError, match=r"of another run \(learning_rate was 0\.001, is 0\.1\)"):
        run(parts, epochs=1, resume="auto", learning_rate=0.1)
    with pytest.raises(ValueError, match=r"of another run \(data was \w+, is \w+\)"):
        run(make_parts(tmp_path / "more", count=8), epochs=1, resume="auto")
    with pytest.raises(ValueError, match="out: is not empty"):
        run(parts, epochs=1)


def test_a_run_with_another_preprocessing_or_model_is_not_resumed(run, parts, tmp_path):
    run(parts, epochs=1)

    def resume(processor, **numbers):
        model = make_tiny_model()
        for name, value in numbers.items():
            setattr(model.config, name, value)
        train(model, processor, parts, FBCLIPTrainingArguments(tmp_path / "out", 1, learning_rate=1e-3, resume="auto"))

    config = make_tiny_model().config
    resume(FBCLIPProcessor.from_config(config))
    darker = FBCLIPProcessor.from_config(config)
    darker.image_processor.image_mean = [0.4, 0.4, 0.4]
    for processor in (darker, FBCLIPProcessor(image_size=40)):
        with pytest.raises(ValueError, match=r"of another run \(preprocessing was \w+, is \w+\)"):
            resume(processor)
    with pytest.raises(ValueError, match=r"of another run \(config was \w+, is \w+\)"):
        resume(FBCLIPProcessor.from_config(config), dice_weight=0.3)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin", "progress.json", "scheduler.bin"])
def test_a_damaged_checkpoint_is_named(run, parts, tmp_path, file):
    run(parts, epochs=1)
    damaged = tmp_path / "out/checkpoints/step-000000002" / file
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(ValueError, match="step-000000002: cannot be resumed"):
        run(parts, epochs=1, resume="auto")


def test_a_checkpoint_that_would_run_code_is_refused(run, parts, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    run(parts, epochs=1)
    checkpoint = tmp_path / "out/checkpoints/step-000000002"
    torch.save({"step": Payload()}, checkpoint / "random_states_0.pkl")  # accelerate ignores it
    run(parts, epochs=1, resume="auto")
    for file in ("optimizer.bin", "scheduler.bin"):
        kept = (checkpoint / file).read_bytes()
        torch.save({"step": Payload()}, checkpoint / file)
        with pytest.raises(ValueError, match="cannot be resumed"):
            run(parts, epochs=1, resume="auto")
        (checkpoint / file).write_bytes(kept)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("scheduler", ["constant", "constant_with_warmup", "inverse_sqrt"])
def test_more_epochs_on_a_finished_run_give_the_weights_of_a_longer_one(run, tmp_path, scheduler, caplog):
    parts = make_parts(tmp_path / "parts", count=5)
    arguments = {"batch_size": 2, "lr_scheduler": scheduler, "warmup_steps": 2 * (scheduler != "constant")}
    expected = trained_weights(run(parts, "whole", epochs=3, **arguments))
    run(parts, "longer", epochs=1, **arguments)
    assert_same_weights(trained_weights(run(parts, "longer", epochs=3, resume="auto", **arguments)), expected)
    assert max(line["step"] for line in read_log(tmp_path / "longer")) == 9
    assert "schedule ends" not in caplog.text
    with pytest.raises(ValueError, match=r"epochs was 3, is 2"):
        run(parts, "longer", epochs=2, resume="auto", **arguments)


def test_more_epochs_of_a_schedule_that_has_ended_are_told(run, tmp_path, caplog):
    parts = make_parts(tmp_path / "parts", count=4)
    run(parts, epochs=1, lr_scheduler="cosine")
    run(parts, epochs=2, lr_scheduler="cosine", resume="auto")
    assert (
        "The cosine schedule ends with the last epoch, and was made for 1 epochs: the result is not that"
        in caplog.text
    )
