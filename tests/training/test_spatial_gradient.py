"""The spatial view's backward pass, compared with finite differences."""

import pytest
import torch

from modeling_fbclip.vision_fbclip import SpatialView


@pytest.mark.parametrize(("height", "width", "window"), [(4, 3, 3), (5, 7, 5), (2, 3, 5), (1, 1, 3), (3, 2, 1)])
def test_the_gradient_of_the_spatial_view_is_right(height: int, width: int, window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    taps = torch.rand(2, height, width, window, window, generator=generator, dtype=torch.float64)
    features = torch.rand(2, 1 + height * width, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(SpatialView.from_taps(taps), features)


def test_under_autocast_the_gradient_has_the_dtype_of_the_features() -> None:
    taps = torch.rand(1, 3, 3, 3, 3, dtype=torch.bfloat16)
    features = torch.rand(1, 10, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        SpatialView.from_taps(taps)(features).sum().backward()
    assert features.grad is not None
    assert features.grad.dtype == torch.float32
