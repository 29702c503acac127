"""References at one view of an image, the whole or a tile: the bank of their patches there, and its scale."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .comparison_fbclip import Evidence, Judgement, Scale, gather, judge, measure
from .distances_fbclip import mean_of_nearest, nearest_distances, nearest_of_all, reach_in_patches, unit_patches
from .reference_bank_fbclip import Bank, coreset, pair_distances

SAME_IMAGE = 1e-4  # mean distance below which two images are copies; a copy tells nothing


class ViewReferences:
    """
    What images are compared with at one view.

    Args:
        bank: of k references.
        mutual: whether they judge one another, and some may be defective.
        reach: how far away a patch is searched for, as a share of the view's sides.
    """

    def __init__(self, bank: Bank, mutual: bool, reach: float) -> None:
        self.bank, self.mutual, self.reach = bank, mutual, reach
        self._tokens = bank.tokens  # on the device of the last images
        self.scale = self._measure()

    @classmethod
    def of(
        cls, tokens: Tensor, logits: Tensor, mutual: bool, reach: float, max_patches: int | None
    ) -> "ViewReferences":
        """From the patches `(k, L, h, w, D)` and logits of the images, of which at most `max_patches` are kept."""
        pairs = pair_distances(tokens, tokens, reach, offset=0)
        bank = Bank(tokens if max_patches is None else coreset(tokens, max_patches), pairs, logits)
        return cls(bank, mutual, reach)

    def grown(self, tokens: Tensor, logits: Tensor) -> "ViewReferences":
        """With more images at the end. The others are not computed again."""
        old, count = self.bank, len(self.bank.pairs)
        every = torch.cat([old.tokens, tokens])
        below = pair_distances(tokens, every, self.reach, offset=count)  # (new, all)
        beside = pair_distances(old.tokens, tokens, self.reach, offset=None)  # (old, new)
        pairs = torch.cat([torch.cat([old.pairs, beside], dim=1), below])
        return ViewReferences(Bank(every, pairs, torch.cat([old.logits, logits])), self.mutual, self.reach)

    def thinned(self, kept: list[int]) -> "ViewReferences":
        """With these images only."""
        old = self.bank
        bank = Bank(old.tokens[kept], old.pairs[kept][:, kept], old.logits[kept])
        return ViewReferences(bank, self.mutual, self.reach)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width in patches."""
        return self.bank.tokens.shape[2], self.bank.tokens.shape[3]

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """
        The inputs of an exported model, in float32: the patches `(k, L, h, w, D)`; and the numbers of the scale,
        followed by the reach in rows and in columns, `(13,)`.
        """
        scale = np.array([*self.scale, *reach_in_patches(self.reach, self.grid)], np.float32)
        return self.bank.tokens.float().numpy(), scale

    def require_grid(self, grid: tuple[int, int]) -> None:
        """Raises ValueError for images of another grid."""
        if grid != self.grid:
            raise ValueError(
                f"The references have a grid of {self.grid} patches, but the images {grid}; resize alike."
            )

    def judge(self, layer_tokens: Sequence[Tensor], logits: Tensor, grid: tuple[int, int]) -> Judgement:
        """As [`FBCLIPReferences.judge`]."""
        self.require_grid(grid)
        if self._tokens.device != logits.device:  # once, as a bank may be large
            self._tokens = self.bank.tokens.to(logits.device)
        reach = reach_in_patches(self.reach, grid)
        distances = torch.stack(
            [
                self._distance(torch.stack([nearest_distances(image, other, reach) for other in self._tokens]))
                for image in unit_patches(list(layer_tokens), grid)
            ]
        )
        return judge(gather(logits, distances), self.scale)

    def _distance(self, distances: Tensor) -> Tensor:
        """The distance of an image, `(h, w)`, from those to each reference, `(k, L, h, w)`."""
        if not self.mutual:
            return nearest_of_all(distances)
        others = distances[distances.flatten(1).mean(dim=1) > SAME_IMAGE]
        return mean_of_nearest(others if len(others) else distances)

    def _measure(self) -> Scale:
        """The scale of the references: each is compared with the others, a single one with itself."""
        pairs, every = self.bank.pairs, range(len(self.bank.pairs))
        own = torch.stack([pairs[index, index].mean(dim=0) for index in every])  # (k, h, w)
        left_out = own
        if len(every) > 1:
            left_out = torch.stack(
                [self._distance(pairs[index, [other for other in every if other != index]]) for index in every]
            )
        references: Evidence = gather(self.bank.logits, left_out)
        return measure(references, float(own.mean()), self.mutual)
