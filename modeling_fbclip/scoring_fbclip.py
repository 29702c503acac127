"""Background suppression and scores: attended tokens and text features in, probabilities out. Pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .configuration_fbclip import FBCLIPConfig


def upcast(tensor: Tensor) -> Tensor:
    """To float32 or wider. Scores, softmaxes and statistics need it, even if the weights are narrower."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def background_feature(token_maps: list[Tensor], fraction: float, max_weight: float) -> Tensor:
    """
    The background of an image, `(B, D)`, from its attended maps `(M, B, N, D)`: per channel, the mean and the maximum
    over the first tokens of all maps. `fraction` is the share of the tokens, CLS included, and `max_weight` the share
    of the maximum; the rest is the mean.
    """
    count = torch.sym_max(torch.sym_int(token_maps[0].shape[2] * fraction), 1)
    leading = [tokens[:, :, :count] for tokens in token_maps]
    mean = torch.cat([upcast(tokens).mean(dim=2) for tokens in leading]).mean(dim=0)
    maximum = torch.cat([upcast(tokens).amax(dim=2) for tokens in leading]).amax(dim=0)
    return ((1 - max_weight) * mean + max_weight * maximum).to(token_maps[0].dtype)


Projection = Callable[[Tensor], Tensor]  # CLIP's visual projection, (…, D) → (…, P)


class Background(NamedTuple):
    """An image's background as a unit vector, `(B, D)`, and projected, `(B, P)`, and the projection of 0."""

    direction: Tensor
    projected: Tensor
    bias: Tensor  # (1, P), 0 for CLIP's projection, but an adapter may add one

    @classmethod
    def of(cls, feature: Tensor, projection: Projection) -> "Background":
        """Projected once for all maps."""
        direction = F.normalize(upcast(feature), dim=-1)
        return cls(direction, projection(feature), projection(torch.zeros_like(feature[:1])))


def suppress_and_project(tokens: Tensor, background: Background, projection: Projection, weight: float) -> Tensor:
    """
    Background suppression, (1 - weight)·t + weight·(t - b)(1 - cos(t, b)), followed by CLIP's visual projection:
    `(…, B, N, P)` in float32 or wider. t are the tokens of attended maps, `(…, B, N, D)`, and b is the background,
    `(B, D)`. The projection is affine, so it is applied to t and b instead. Their factors sum to 1 - weight, and
    so would that of its bias, which needs 1.
    """
    wide = upcast(tokens)
    along_background = wide @ background.direction.unsqueeze(-1)  # (…, B, N, 1)
    similarity = along_background / wide.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    suppression = weight * (1 - similarity)
    shift = torch.addcmul(weight * upcast(background.bias), suppression, -upcast(background.projected).unsqueeze(1))
    return torch.addcmul(shift, upcast(projection(tokens)), 1 - weight + suppression)


def score_map(
    tokens: Tensor, text_embeds: Tensor, projection: Projection, config: FBCLIPConfig, *background: Tensor
) -> tuple[Tensor, Tensor]:
    """
    The [`anomaly_logits`] of maps `(M, B, N, D)` and their tokens after [`suppress_and_project`]. The fields of
    [`Background`] come one by one, since reentrant checkpointing follows only tensors that are arguments.
    """
    embeds = suppress_and_project(tokens, Background(*background), projection, config.suppression_weight)
    return anomaly_logits(embeds, text_embeds, config.temperature), embeds


def anomaly_logits(image_embeds: Tensor, text_embeds: Tensor, temperature: float) -> Tensor:
    r"""
    Logit of "anomalous" against "normal": the difference of the two cosine similarities over the temperature.

    Args:
        image_embeds (`torch.FloatTensor` of shape `(batch_size, num_tokens, projection_dim)`): not normalised.
        text_embeds (`torch.FloatTensor` of shape `(2, projection_dim)`): unit rows, normal then anomalous.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_tokens)`.

    Example:

    ```python
    >>> image_embeds = torch.tensor([[[3.0, 4.0]]])  # cosines 0.6 and 0.8
    >>> anomaly_logits(image_embeds, torch.eye(2), temperature=0.1).round(decimals=4)
    tensor([[2.]])

    ```"""
    difference = upcast(text_embeds[1] - text_embeds[0]) / temperature
    return (image_embeds @ difference) / image_embeds.norm(dim=-1).clamp(min=1e-12)


def split_scores(logits: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    r"""
    Image scores `(batch_size,)` and anomaly maps `(batch_size, grid_height, grid_width)`, both in [0, 1], from the
    weighted sum of all maps' logits, `(batch_size, 1 + num_patches)` with CLS first.
    """
    probabilities = logits.sigmoid()
    return probabilities[:, 0], probabilities[:, 1:].unflatten(1, grid)
