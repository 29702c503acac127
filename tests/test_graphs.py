"""One graph for every batch and size: compiling, exporting, gradient checkpointing, no waiting for a device."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.export import Dim, export

from conftest import TINY_OVERRIDES, make_tiny_clip, randomize
from modeling_fbclip import FBCLIPModel

SIZES = ((32, 48), (64, 64), (40, 24))


def make_model() -> FBCLIPModel:
    """One feature layer, since the time goes to tracing."""
    model = FBCLIPModel.from_clip(make_tiny_clip(), **(TINY_OVERRIDES | {"feature_layers": [2]}))
    randomize(model.text_branch, seed=1)
    randomize(model.attention, seed=2)
    return model.eval()


def images(batch_size: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return torch.randn(batch_size, 3, *size, generator=generator)


def targets(pixel_values: Tensor) -> dict[str, Tensor]:
    return {"labels": torch.arange(len(pixel_values)) % 2, "mask_labels": (pixel_values[:, 0] > 1).float()}


@pytest.fixture
def counter() -> Iterator[CompileCounter]:
    torch._dynamo.reset()
    yield CompileCounter()
    torch._dynamo.reset()


@torch.no_grad()
def test_one_compiled_graph_serves_every_batch_and_size(counter) -> None:
    model = make_model()
    compiled = torch.compile(model, backend=counter, dynamic=True, fullgraph=True)
    # PyTorch itself makes another graph for batches of one; then this one serves every size of image.
    for batch_sizes, graphs in (((2, 3, 8), 1), ((1,), 2)):
        for batch_size in batch_sizes:
            for size in SIZES:
                pixels = images(batch_size, size)
                torch.testing.assert_close(
                    compiled(pixels).anomaly_maps, model(pixels).anomaly_maps, rtol=0, atol=1e-5
                )
        assert counter.frame_count == graphs


def test_training_compiles_as_one_graph(counter) -> None:
    model = make_model().train()
    compiled = torch.compile(copy.deepcopy(model), backend=counter, dynamic=True, fullgraph=True)
    for batch_size, size in zip((2, 3), SIZES, strict=False):
        pixels = images(batch_size, size)
        for each in (model, compiled):
            each.zero_grad()
            each(pixels, **targets(pixels)).loss.backward()
        for (name, ours), theirs in zip(model.named_parameters(), compiled.parameters(), strict=True):
            torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    assert counter.frame_count == 1


@torch.no_grad()
def test_one_exported_graph_serves_every_batch_and_size() -> None:
    model = make_model()
    shapes = {"pixel_values": {0: Dim("batch"), 2: 8 * Dim("grid_height", min=2), 3: 8 * Dim("grid_width", min=2)}}
    exported = export(model, (images(2, SIZES[0]),), dynamic_shapes=shapes, strict=False).module()
    for batch_size, size in ((1, (32, 32)), (3, (16, 64)), (8, (64, 40))):
        pixels = images(batch_size, size)
        found, expected = exported(pixels), model(pixels)
        torch.testing.assert_close(found["anomaly_maps"], expected.anomaly_maps, rtol=0, atol=1e-5)
        torch.testing.assert_close(found["image_scores"], expected.image_scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("whole", [True, False], ids=["CLIP trained too", "CLIP frozen"])
def test_gradient_checkpointing_gives_the_same_gradients(use_reentrant: bool, whole: bool) -> None:
    model = make_model().train()
    model.clip.requires_grad_(whole)
    checkpointed = copy.deepcopy(model)
    checkpointed.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    pixels = images(2, SIZES[0])
    for each in (model, checkpointed):
        each(pixels, **targets(pixels)).loss.backward()
    gradients = {name: parameter.grad for name, parameter in checkpointed.named_parameters()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            gradients[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_forward_never_waits_for_the_device() -> None:
    model, pixels = make_model().to("cuda"), images(2, SIZES[0]).cuda()
    expected = model(pixels).anomaly_maps  # also loads the kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = model(pixels).anomaly_maps
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_forward_asks_for_no_value_of_a_tensor() -> None:
    """On the meta device, tensors have none."""
    model = make_model().to("meta")
    assert model(images(2, SIZES[0]).to("meta")).anomaly_maps.shape == (2, 4, 6)
