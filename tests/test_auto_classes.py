"""Loads a saved folder with the Auto classes and `pipeline`, with and without the package."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline

from conftest import TINY_OVERRIDES
from modeling_fbclip import FBCLIPConfig, FBCLIPModel, FBCLIPProcessor, ZeroShotAnomalyDetectionPipeline

WITHOUT_PACKAGE = """
    import json, sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "modeling_fbclip":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Absent())
    import torch
    from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline

    folder, image = sys.argv[1:]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model.save_pretrained(folder + "/again")
    processor.save_pretrained(folder + "/again")
    again = pipeline("zero-shot-anomaly-detection", model=folder + "/again", trust_remote_code=True)(image)
    with torch.no_grad():
        outputs = model(**processor(images=image))
    direct = processor.post_process_anomaly_detection(outputs)[0]
    piped = pipeline("zero-shot-anomaly-detection", model=folder, trust_remote_code=True)(image)
    print(json.dumps({
        "config": config.model_type,
        "module": type(model).__module__,
        "frozen": not any(parameter.requires_grad for parameter in model.clip.parameters()),
        "scores": [direct["score"], piped["score"], again["score"]],
        "size": list(piped["anomaly_map"].shape),
    }))
"""


@pytest.fixture(params=["complete", "parts"])
def saved_folder(request, tiny_clip, tmp_path) -> Path:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    model.save_pretrained(tmp_path / "saved", include_clip=request.param == "complete")
    FBCLIPProcessor.from_config(model.config).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_auto_classes_find_the_installed_package(saved_folder) -> None:
    assert type(AutoConfig.from_pretrained(saved_folder)) is FBCLIPConfig
    assert type(AutoModel.from_pretrained(saved_folder)) is FBCLIPModel
    assert type(AutoProcessor.from_pretrained(saved_folder)) is FBCLIPProcessor
    assert type(pipeline("zero-shot-anomaly-detection", model=str(saved_folder))) is ZeroShotAnomalyDetectionPipeline


def test_a_saved_folder_loads_without_the_package(saved_folder, synthetic_image, tmp_path) -> None:
    synthetic_image.save(tmp_path / "image.png")
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_PACKAGE), saved_folder, tmp_path / "image.png"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    assert found["config"] == "fbclip"
    assert found["module"].startswith("transformers_modules.")
    assert found["frozen"]
    assert found["size"] == [40, 48]

    model, processor = FBCLIPModel.from_pretrained(saved_folder), FBCLIPProcessor.from_pretrained(saved_folder)
    with torch.no_grad():
        score = model(**processor(images=synthetic_image)).image_scores.item()
    assert found["scores"] == [score, score, score]
