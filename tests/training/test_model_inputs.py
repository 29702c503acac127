"""Features of the model for training: unknown masks, tokens instead of pixels, activation checkpointing."""

import pytest
import torch

from conftest import make_tiny_model
from modeling_fbclip.backbone_fbclip import vision_layer_tokens
from modeling_fbclip.loss_fbclip import IGNORE_INDEX, dice_loss, focal_loss
from modeling_fbclip.training import FBCLIPTrainingArguments
from modeling_fbclip.training.setup import prepare_model


@pytest.fixture
def pixel_values():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_an_image_without_mask_is_left_out_of_the_mask_losses(tiny_model, pixel_values):
    labels = torch.tensor([0, 1, 1])
    masks = (pixel_values[:, 0] > 1).float()
    unknown = masks.index_fill(0, torch.tensor([1]), IGNORE_INDEX)
    with torch.no_grad():
        output = tiny_model(pixel_values, labels=labels, mask_labels=unknown)
        without = tiny_model(pixel_values[[0, 2]], labels=labels[[0, 2]], mask_labels=masks[[0, 2]])
        none = tiny_model(pixel_values, labels=labels, mask_labels=torch.full_like(masks, IGNORE_INDEX))
    assert output.mask_focal_loss.item() == pytest.approx(without.mask_focal_loss.item(), abs=1e-6)
    assert output.dice_loss.item() == pytest.approx(without.dice_loss.item(), abs=1e-6)
    assert none.mask_focal_loss.item() == none.dice_loss.item() == 0
    assert none.image_focal_loss == output.image_focal_loss


def test_unknown_pixels_are_left_out_of_the_losses():
    probabilities = torch.tensor([[[0.8, 0.4]], [[0.3, 0.3]]], requires_grad=True)
    targets = torch.tensor([[[1.0, -100.0]], [[-100.0, -100.0]]])
    assert focal_loss(probabilities, targets, gamma=0).item() == pytest.approx(-torch.tensor(0.8).log().item())
    loss = dice_loss(probabilities, targets, smoothing=1)
    assert loss.item() == pytest.approx(1 - (2 * 0.8 + 1) / (0.8 + 1 + 1))
    loss.backward()
    assert probabilities.grad.flatten().nonzero().tolist() == [[0]]


def test_tokens_replace_pixels_on_any_grid(tiny_model, pixel_values):
    for pixels, grid in ((pixel_values, None), (pixel_values[:, :, :24, :16], (3, 2))):
        tokens = vision_layer_tokens(tiny_model.clip.vision_model, pixels, tiny_model.config.feature_layers)
        with torch.no_grad():
            expected = tiny_model(pixels)
            torch.testing.assert_close(tiny_model(layer_tokens=tokens, grid=grid).anomaly_maps, expected.anomaly_maps)
            halved = tiny_model(layer_tokens=[layer.bfloat16() for layer in tokens], grid=grid)
        assert halved.anomaly_maps.dtype == torch.float32


def test_tokens_of_a_wrong_shape_are_an_error(tiny_model, pixel_values):
    tokens = [torch.zeros(1, 17, 32)] * 3
    for arguments in ({}, {"pixel_values": pixel_values, "layer_tokens": tokens}):
        with pytest.raises(ValueError, match="either `pixel_values` or, in their place, `layer_tokens`"):
            tiny_model(**arguments)
    for wrong, grid in ((tokens[:2], None), (tokens, (3, 3)), ([], None), ([torch.zeros(0, 17, 32)] * 3, None)):
        with pytest.raises(ValueError, match="`layer_tokens` have shapes"):
            tiny_model(layer_tokens=wrong, grid=grid)


def saved_bytes(model, pixel_values):
    """Loss, gradients, and the bytes that the forward pass keeps for the backward pass."""
    sizes = {}

    def keep(tensor):
        sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    labels, masks = torch.tensor([0, 1, 1]), (pixel_values[:, 0] > 1).float()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(pixel_values, labels=labels, mask_labels=masks).loss
    kept = sum(sizes.values())
    loss.backward()
    return loss.item(), [w.grad for w in model.parameters() if w.requires_grad], kept


def test_activation_checkpointing_saves_memory_and_gives_the_same_gradients(pixel_values):
    plain, thrifty = make_tiny_model().train(), make_tiny_model().train()
    prepare_model(thrifty, FBCLIPTrainingArguments("unused", gradient_checkpointing=True))
    loss, gradients, kept = saved_bytes(plain, pixel_values)
    same_loss, same_gradients, less = saved_bytes(thrifty, pixel_values)
    assert same_loss == loss
    for first, second in zip(gradients, same_gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    assert less < 0.6 * kept
