"""The common tests of models and configurations, on a tiny FB-CLIP."""

import unittest
from typing import Any

import torch
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin, floats_tensor

from modeling_fbclip import FBCLIPConfig, FBCLIPModel

CLIP = {
    "projection_dim": 24,
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 99,
        "bos_token_id": 1,
        "eos_token_id": 98,
        "max_position_embeddings": 24,
    },
    "vision_config": {
        "hidden_size": 32,
        "image_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "patch_size": 8,
    },
}
PROMPTS = [[1, 2, 2, 2, 2, 5, word, 98] + [0] * 16 for word in (4, 3)]


class FBCLIPModelTester:
    """Configurations and inputs, as the common tests ask for them."""

    def __init__(self, parent: unittest.TestCase) -> None:
        self.parent = parent
        self.batch_size = 2
        self.is_training = True
        self.seq_length = 17  # CLS and 4 × 4 patches
        self.hidden_size = 32
        self.num_hidden_layers = 2

    def get_config(self) -> FBCLIPConfig:
        return FBCLIPConfig(
            clip_config=CLIP,
            image_size=32,
            feature_layers=[1, 3],
            prompt_length=4,
            prompt_input_ids=PROMPTS,
            attention_heads=2,
            attention_head_dim=8,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[FBCLIPConfig, dict[str, Any]]:
        return self.get_config(), {"pixel_values": floats_tensor([self.batch_size, 3, 32, 32])}


class FBCLIPModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (FBCLIPModel,)
    test_resize_embeddings = False
    has_attentions = False
    _is_composite = True

    def setUp(self) -> None:
        self.model_tester = FBCLIPModelTester(self)

    def _prepare_for_class(self, inputs_dict: dict, model_class: type, return_labels: bool = False) -> dict:
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels:
            inputs["labels"] = torch.arange(len(inputs["pixel_values"])) % 2
        return inputs


class FBCLIPConfigTest(unittest.TestCase):
    def test_config(self) -> None:
        tester = ConfigTester(
            self, config_class=FBCLIPConfig, has_text_modality=False, common_properties=["prompt_length", "image_size"]
        )
        tester.run_common_tests()
