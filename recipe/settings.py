"""The settings of a run of the recipe: sizes, steps, seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

# What suits the fine-tuning of the bundled model by its users; `python -m recipe.finetuning` compares it with others.
TRAINING = {"epochs": 2, "learning_rate": 5e-4, "lr_scheduler": "cosine", "augment": True}
LOSSES = {"focal_gamma": 0.0, "dice_weight": 4.0, "consistency_weight": 0.0}

STAGES = ("distill", "critic", "clip", "widen", "fbclip")


@dataclass(frozen=True)
class Settings:
    """Everything that the weights depend on. Steps are optimiser steps of `batch_size` images.

    `image_size` is the side in pixels of the training images, `detect_size` that of the images given to FB-CLIP.
    The learning rate of stage "clip" restarts every `clip_cycle` steps. Stage "fbclip" has its own focal gamma and
    consistency weight: with the published ones it loses more of CLIP's knowledge of unfamiliar surfaces.
    """

    seed: int = 42
    device: str = "cpu"
    batch_size: int = 32
    image_size: int = 128
    detect_size: int = 256
    vision_width: int = 192
    vision_layers: int = 6
    text_width: int = 128
    text_layers: int = 3
    projection: int = 128
    feature_layers: tuple[int, ...] = (3, 4, 5, 6)
    distill_steps: int = 800
    critic_steps: int = 400
    clip_steps: int = 1920
    clip_cycle: int = 640
    widen_steps: int = 240
    fbclip_steps: int = 80
    fbclip_batch_size: int = 8
    fbclip_size: int = 128
    fbclip_rate: float = 5e-4
    fbclip_focal_gamma: float = 0.0
    fbclip_consistency_weight: float = 0.0
    calibration_images: int = 576
    validation_images: int = 192
    large_images: int = 160

    def smoke(self) -> Settings:
        """The same recipe in less than a minute, for tests: a narrow model and few steps."""
        return replace(
            self,
            batch_size=4,
            image_size=64,
            detect_size=64,
            vision_width=64,
            text_width=32,
            projection=32,
            distill_steps=3,
            critic_steps=3,
            clip_steps=4,
            clip_cycle=2,
            widen_steps=2,
            fbclip_steps=3,
            fbclip_batch_size=2,
            fbclip_size=64,
            calibration_images=16,
            validation_images=16,
            large_images=16,
        )

    def __post_init__(self) -> None:
        if self.clip_steps % self.clip_cycle:
            raise ValueError(f"clip_steps is {self.clip_steps}, but must be a multiple of {self.clip_cycle}, a cycle.")

    def steps(self, stage: str) -> int:
        """Optimiser steps of a stage."""
        return int(getattr(self, f"{stage}_steps"))

    def record(self, stage: str | None = None) -> dict[str, object]:
        """All settings, or those that a stage may depend on: its own, those of earlier stages, and common ones.

        Stage "clip" does not depend on `clip_steps`, because it can continue cycle by cycle.
        """
        every = asdict(self)
        if stage is None:
            return every
        later = tuple(f"{each}_" for each in STAGES[STAGES.index(stage) + 1 :])
        unused = [
            "calibration_images",
            "validation_images",
            "large_images",
            *(["clip_steps"] if stage == "clip" else []),
        ]
        return {name: value for name, value in every.items() if not name.startswith(later) and name not in unused}


# Each stage has its own seed, so that no two stages share images. Validation is a stage here.
STAGE_OFFSETS = {
    "distill": 1, "clip": 2, "fbclip": 3, "validation": 4, "calibration": 5, "statistics": 6, "widen": 7, "critic": 8,
    "unfamiliar": 9,
}  # fmt: skip
UNFAMILIAR_STAGES = ("calibration", "unfamiliar")
