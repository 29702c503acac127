"""Training on a folder of good images, from the command line."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.cli.__main__ import main


def test_a_folder_of_good_images_trains_with_synthetic(tiny_model, tmp_path, monkeypatch, capsys):
    parts, model = tmp_path / "parts", tmp_path / "model"
    parts.mkdir()
    pixels = np.random.default_rng(0).integers(90, 130, (3, 40, 36, 3), dtype=np.uint8)
    for number, part in enumerate(pixels):
        Image.fromarray(part).save(parts / f"{number}.png")
    tiny_model.save_pretrained(model)
    FBCLIPProcessor.from_config(tiny_model.config).save_pretrained(model)
    command = ["fbclip", "train", str(parts), "--model", str(model), "--output", str(tmp_path / "out"), "--epochs=1"]
    for arguments, status, said in (
        (command, 2, "nothing to learn"),
        ([*command, "--synthetic"], 0, "saved to"),
    ):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as exit_info:
            main()
        assert (exit_info.value.code or 0) == status
        assert said in capsys.readouterr().err
    record = json.loads((tmp_path / "out/training_record.json").read_text())
    assert (record["data"]["images"], record["data"]["normal"], record["data"]["anomalous"]) == (3, 3, 0)
