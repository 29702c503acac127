"""Losses of FB-CLIP on probabilities, image and text embeddings. Pure functions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .configuration_fbclip import FBCLIPConfig
from .maps_fbclip import resize_maps
from .scoring_fbclip import upcast

IGNORE_INDEX = -100  # an unknown target, as in transformers' segmentation models


def focal_loss(probabilities: Tensor, targets: Tensor, gamma: float) -> Tensor:
    r"""
    Mean binary focal loss on probabilities, without class weights: BCE · (1 - p_t)^gamma.

    Args:
        probabilities (`torch.FloatTensor` of any shape): of the class 1, in [0, 1].
        targets (`torch.FloatTensor` of the same shape): 0 or 1, or -100 if unknown. Unknown targets are left out.
        gamma (`float`): focusing exponent.

    Returns:
        `torch.FloatTensor` of shape `()`; 0 if no target is known, not a number if a probability is none.
    """
    known = (targets != IGNORE_INDEX).to(probabilities.dtype)
    targets = targets * known
    # One that is not finite would end in an assertion of the device.
    comparable = torch.where(probabilities.isfinite(), probabilities, 0.5)
    with torch.autocast(probabilities.device.type, enabled=False):  # autocast on CUDA refuses this loss
        cross_entropy = F.binary_cross_entropy(comparable, targets, reduction="none")
    cross_entropy = cross_entropy + 0 * probabilities  # not a number where these are not finite
    miss = targets * (1 - probabilities) + (1 - targets) * probabilities  # 1 - p_t
    return (cross_entropy * miss.pow(gamma) * known).sum() / known.sum().clamp(min=1)


def dice_loss(probabilities: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    r"""
    One minus the soft dice coefficient of each image, averaged over the images.

    Args:
        probabilities (`torch.FloatTensor` of shape `(batch_size, height, width)`): in [0, 1].
        targets (`torch.FloatTensor` of the same shape): 0 or 1, or -100 if unknown. Unknown targets are left out.
        smoothing (`float`): added to numerator and denominator.

    Returns:
        `torch.FloatTensor` of shape `()`; 0 if no target is known.
    """
    known = (targets != IGNORE_INDEX).to(probabilities.dtype)
    probabilities, targets = probabilities * known, targets * known
    intersection = (probabilities * targets).sum(dim=(1, 2))
    union = probabilities.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    images = known.amax(dim=(1, 2))
    return ((1 - (2 * intersection + smoothing) / (union + smoothing)) * images).sum() / images.sum().clamp(min=1)


def consistency_loss(pooled_embeds: Tensor, text_embeds: Tensor, config: FBCLIPConfig) -> Tensor:
    r"""
    Semantic consistency (paper): entropy of the image's class probabilities, and a hinge on the logits' margin.

    Args:
        pooled_embeds (`torch.FloatTensor` of shape `(batch_size, projection_dim)`): mean over all tokens of the last
            map after suppression and projection.
        text_embeds (`torch.FloatTensor` of shape `(2, projection_dim)`): unit rows.

    Returns:
        `torch.FloatTensor` of shape `()`, times its weight.
    """
    logits = F.normalize(pooled_embeds, dim=-1) @ upcast(text_embeds).T / config.temperature  # (B, 2)
    probabilities = logits.softmax(dim=-1)
    entropy = -(probabilities * (probabilities + 1e-8).log()).sum(dim=-1).mean()
    shortfall = F.relu(config.consistency_margin - (logits[:, 1] - logits[:, 0]).abs()).mean()
    return config.consistency_weight * (entropy + config.consistency_margin_weight * shortfall)


def fbclip_losses(
    image_scores: Tensor,
    anomaly_maps: Tensor,
    pooled_embeds: Tensor,
    text_embeds: Tensor,
    labels: Tensor,
    mask_labels: Tensor | None,
    config: FBCLIPConfig,
) -> dict[str, Tensor]:
    r"""
    Args:
        image_scores (`torch.FloatTensor` of shape `(batch_size,)`): probabilities.
        anomaly_maps (`torch.FloatTensor` of shape `(batch_size, grid_height, grid_width)`): probabilities. They are
            resized bilinearly to the masks' size.
        pooled_embeds, text_embeds: see [`consistency_loss`].
        labels (`torch.Tensor` of shape `(batch_size,)`): 0 normal, 1 anomalous.
        mask_labels (`torch.Tensor` of shape `(batch_size, height, width)`, *optional*): 0 normal, 1 anomalous, -100
            unknown. Without it, the mask focal and the dice loss are 0.

    Returns:
        `dict[str, torch.FloatTensor]`: the sum `loss` and its four parts as [`FBCLIPOutput`] names them, times their
        weights. All of shape `()`.
    """
    image_focal = focal_loss(image_scores, labels.to(image_scores.dtype), config.focal_gamma)
    consistency = consistency_loss(pooled_embeds, text_embeds, config)
    mask_focal = dice = image_focal.new_zeros(())
    if mask_labels is not None:
        masks = mask_labels.to(anomaly_maps.dtype)
        _, height, width = masks.shape
        maps = resize_maps(anomaly_maps, (height, width))
        mask_focal = focal_loss(maps, masks, config.focal_gamma)
        dice = config.dice_weight * dice_loss(maps, masks, config.dice_smoothing)
    return {
        "loss": image_focal + mask_focal + dice + consistency,
        "image_focal_loss": image_focal,
        "mask_focal_loss": mask_focal,
        "dice_loss": dice,
        "consistency_loss": consistency,
    }
