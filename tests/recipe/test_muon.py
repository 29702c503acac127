"""The recipe's Muon makes the same steps as torch's own, up to torch's rounding to bfloat16."""

import torch
from torch import nn

from recipe.muon import Muon, orthogonal


def test_singular_values_are_moved_near_one():
    matrices = torch.randn(3, 24, 60, generator=torch.Generator().manual_seed(0))
    for each in (matrices, matrices.mT):
        sizes = torch.linalg.svdvals(orthogonal(each))
        assert ((sizes > 0.6) & (sizes < 1.3)).all()


def test_steps_equal_those_of_torch_up_to_rounding():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((24, 60), (60, 24), (24, 60))]
    gradients = [[torch.randn(each.shape, generator=generator) for each in start] for _ in range(3)]
    arguments = {"lr": 0.01, "weight_decay": 0.1}
    results = []
    for make in (Muon, lambda *a, **k: torch.optim.Muon(*a, **k, adjust_lr_fn="match_rms_adamw")):
        parameters = [nn.Parameter(each.clone()) for each in start]
        optimizer = make(parameters, **arguments)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
        results.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    ours, theirs = results
    moved = (ours - torch.cat([each.flatten() for each in start])).abs().max()
    assert moved > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 * moved.item())
