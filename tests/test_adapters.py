"""Adapters, hooks, offloading and quantisation: every weight is read through its module."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import reference
import torch
from accelerate import cpu_offload, disk_offload
from peft import IA3Config, LNTuningConfig, LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel

PIXELS = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
MASKS, LABELS = (PIXELS[:, 0] > 1).float(), torch.tensor([0, 1])
BASE = make_tiny_model()  # read only
TARGETS = [name for name, module in BASE.named_modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding)]
# These take no part in FB-CLIP.
UNUSED = ("clip.vision_model.post_layernorm",)


@torch.no_grad()
def maps_of(model: nn.Module) -> Tensor:
    return model(PIXELS).anomaly_maps


def adapted(config: object, base: FBCLIPModel = BASE) -> PeftModel:
    """A model that has computed its text features before, with an adapter of random numbers."""
    model = copy.deepcopy(base)
    maps_of(model)
    torch.manual_seed(0)  # of the first values of an adapter
    with_adapter = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in with_adapter.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return with_adapter.eval()


@pytest.mark.parametrize("target", [*TARGETS, "all-linear"])
def test_an_adapter_on_any_target_trains_switches_off_and_merges(target: str) -> None:
    model = adapted(LoraConfig(r=2, target_modules=target if target == "all-linear" else [target]))
    unmerged = maps_of(model)
    assert (unmerged - maps_of(BASE)).abs().max() > 1e-6
    with model.disable_adapter():
        torch.testing.assert_close(maps_of(model), maps_of(BASE), rtol=0, atol=1e-6)

    model.train()
    model(PIXELS, labels=LABELS, mask_labels=MASKS).loss.backward()
    trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert [name for name, gradient in trained.items() if gradient is None or not gradient.any()] == []
    torch.testing.assert_close(maps_of(model.eval().merge_and_unload()), unmerged, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=2, target_modules=TARGETS),
        LoraConfig(r=2, target_modules="all-linear", use_dora=True),
        LoraConfig(r=2, target_modules=["q_proj", "qkv", "out"], use_rslora=True),
        IA3Config(target_modules=["qkv", "visual_projection", "fc2"], feedforward_modules=["fc2"]),
        LNTuningConfig(target_modules=["norm", "pre_layrnorm", "layer_norm1", "final_layer_norm"]),
    ],
    ids=["everything", "dora", "rslora", "ia3", "layer norms"],
)
def test_kinds_of_adapters_equal_the_merged_model(config: object) -> None:
    model = adapted(config)
    unmerged = maps_of(model)
    assert (unmerged - maps_of(BASE)).abs().max() > 1e-6
    torch.testing.assert_close(maps_of(model.merge_and_unload()), unmerged, rtol=0, atol=1e-6)


def test_a_bias_that_an_adapter_adds_counts_in_full() -> None:
    """As in the literal head, which projects each token after suppression."""
    model = adapted(LoraConfig(r=2, target_modules=["visual_projection"], lora_bias=True))
    projection, config = model.base_model.model.clip.visual_projection, model.base_model.model.config
    assert projection.lora_B["default"].bias.abs().max() > 0.1
    with torch.no_grad():
        outputs = model(PIXELS, output_stages=True)
        maps = [value for name, value in outputs.stages.items() if name.endswith(".attended")]
        embeds = [
            projection(reference.suppress_background(each, outputs.stages["background"], config)) for each in maps
        ]
        weights = model.base_model.model.scale_weights
        scores = reference.scores(embeds, outputs.text_embeds, (4, 6), weights, config)
    torch.testing.assert_close(outputs.stages["last_view_projected"], embeds[-1], rtol=0, atol=1e-5)
    torch.testing.assert_close((outputs.image_scores, outputs.anomaly_maps), scores, rtol=0, atol=1e-5)


def with_biases(model: FBCLIPModel) -> FBCLIPModel:
    """Every linear layer has a bias, so that peft can merge one of an adapter."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_features))
    return model


def test_biases_of_adapters_on_all_layers_merge() -> None:
    config = LoraConfig(r=2, target_modules="all-linear", lora_bias=True)
    model = adapted(config, with_biases(copy.deepcopy(BASE)))
    unmerged = maps_of(model)
    assert (unmerged - maps_of(BASE)).abs().max() > 1e-4
    torch.testing.assert_close(maps_of(model.merge_and_unload()), unmerged, rtol=0, atol=1e-6)


def test_text_features_follow_adapters_that_are_switched_or_merged_unused() -> None:
    config = LoraConfig(r=2, target_modules=["q_proj", "text_projection"], init_lora_weights=False)
    model = copy.deepcopy(BASE)
    maps_of(model)
    torch.manual_seed(0)  # of the first values of an adapter
    with_adapter = get_peft_model(model, config)
    with_adapter.add_adapter("other", config)
    expected = {}
    for name in ("default", "other", "default"):
        with_adapter.set_adapter(name)
        expected.setdefault(name, maps_of(with_adapter))
        assert torch.equal(maps_of(with_adapter), expected[name])
    assert (expected["default"] - expected["other"]).abs().max() > 1e-4

    fresh = copy.deepcopy(BASE)
    maps_of(fresh)  # and never again before the merge
    unused = get_peft_model(fresh, config)
    unused.load_state_dict({key: value for key, value in with_adapter.state_dict().items() if ".other." not in key})
    torch.testing.assert_close(maps_of(unused.merge_and_unload()), expected["default"], rtol=0, atol=1e-6)


def test_clip_trains_with_the_literal_gradients_once_unfrozen() -> None:
    model = copy.deepcopy(BASE).double()
    model.clip.requires_grad_(True)
    model(PIXELS.double(), labels=LABELS, mask_labels=MASKS).loss.backward()
    layer = model.clip.vision_model.encoder.layers[0].mlp.fc1
    difference = 1e-6
    losses = []
    for sign in (1, -1):
        moved = copy.deepcopy(model).requires_grad_(False)
        moved.clip.vision_model.encoder.layers[0].mlp.fc1.bias[3] += sign * difference
        losses.append(moved(PIXELS.double(), labels=LABELS, mask_labels=MASKS).loss)
    slope = ((losses[0] - losses[1]) / (2 * difference)).item()
    assert layer.bias.grad[3].item() == pytest.approx(slope, rel=1e-5)


def offload_to_cpu(model: FBCLIPModel, _: Path) -> None:
    cpu_offload(model, execution_device=torch.device("cpu"))


def offload_to_disk(model: FBCLIPModel, folder: Path) -> None:
    disk_offload(model, folder, execution_device=torch.device("cpu"))


@pytest.mark.parametrize("offload", [offload_to_cpu, offload_to_disk])
def test_an_offloaded_model_equals_the_plain_one(offload: Callable, tmp_path: Path) -> None:
    model = copy.deepcopy(BASE)
    offload(model, tmp_path)
    assert model.scale_weights.is_meta
    for _ in range(2):
        assert torch.equal(maps_of(model), maps_of(BASE))


PARTS = ("clip.vision_model", "clip.text_model", "clip.visual_projection", "clip.text_projection", "clip.logit_scale")
PARTS += ("attention", "text_branch")


@pytest.mark.parametrize("offloaded", [*PARTS, PARTS, ""])
@pytest.mark.parametrize("include_clip", [True, False])
def test_a_device_map_may_offload_any_part_to_disk(offloaded: str | tuple, include_clip: bool, tmp_path: Path) -> None:
    BASE.clip.save_pretrained(tmp_path / "clip")
    model = copy.deepcopy(BASE)
    model.config.clip_name_or_path = str(tmp_path / "clip")
    model.save_pretrained(tmp_path / "saved", include_clip=include_clip)
    device_map = {part: "disk" if part in offloaded else "cpu" for part in PARTS} | {"scale_weights": "cpu"}
    device_map = device_map if offloaded else {"": "disk"}
    loaded = FBCLIPModel.from_pretrained(tmp_path / "saved", device_map=device_map, offload_folder=tmp_path / "off")
    assert any(parameter.is_meta for parameter in loaded.parameters())
    torch.testing.assert_close(maps_of(loaded), maps_of(BASE), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_quantised_model_is_close_to_the_plain_one() -> None:
    quantised = quantize_dynamic(copy.deepcopy(BASE), {nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is nn.Linear for module in quantised.modules())
    error = (maps_of(quantised) - maps_of(BASE)).abs()
    spread = maps_of(BASE).max() - maps_of(BASE).min()
    assert 0 < error.mean() < 0.2 * spread
