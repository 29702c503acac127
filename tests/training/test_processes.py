"""Two processes make the same steps as one process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.training.log import read_log
from training.conftest import make_parts, trained_weights


def test_two_launched_processes_end_with_the_weights_of_one(tiny_model, run, tmp_path):
    parts = make_parts(
        tmp_path / "parts", count=14
    )  # 11 to train on, in steps of 5, 5 and 1: shares are uneven, and in the last step one process has no image
    parts = parts.map(lambda row: row | {"mask": row["mask"] if "3.png" not in row["path"] else None})
    parts.save_to_disk(tmp_path / "data")
    tiny_model.save_pretrained(tmp_path / "model")
    FBCLIPProcessor.from_config(tiny_model.config).save_pretrained(tmp_path / "model")
    arguments = {"epochs": 2, "batch_size": 5, "learning_rate": 1e-3, "lr_scheduler": "linear"}
    arguments |= {"max_grad_norm": 0.5, "validation_fraction": 0.2}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "modeling_fbclip.cli", "train", tmp_path / "data", "--model", tmp_path / "model"]
    for name, value in ({"output": tmp_path / "two"} | arguments).items():
        command += [f"--{name.replace('_', '-')}", value]
    # `accelerate launch --gradient_accumulation_steps 7` sets this; it must not divide the loss a second time.
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "7"}
    launched = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment)
    assert launched.returncode == 0, launched.stderr
    record = json.loads((tmp_path / "two/training_record.json").read_text())
    assert record["environment"]["num_processes"] == 2

    expected = trained_weights(run(parts, "one", **arguments))
    # If the true gradient is zero, Adam's steps are rounding noise. That of a bias before a softmax always is.
    two = trained_weights(FBCLIPModel.from_pretrained(tmp_path / "two"))
    two.pop("text_branch.token_selector.2.bias")
    errors = np.concatenate([np.abs(weight - expected[name]).ravel() for name, weight in two.items()])
    assert (errors > 1e-5).mean() < 0.01
    assert errors.max() < 1e-3
    for one, two in zip(read_log(tmp_path / "one"), read_log(tmp_path / "two"), strict=True):
        assert one.keys() == two.keys()
        one.pop("images_per_second", None), two.pop("images_per_second", None)
        assert two == pytest.approx(one, abs=1e-5)
