"""What a user may choose about a training run. The defaults are the published ones."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from accelerate.tracking import GeneralTracker, get_available_trackers

Precision = Literal["no", "bf16", "fp16"]
CacheType = Literal["bfloat16", "float32"]
# Those of transformers' schedules that a number of warm-up steps and of steps in all define.
Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial", "inverse_sqrt"]
# Numbers of the loss that the model's configuration has too.
LOSS_ARGUMENTS = ("focal_gamma", "dice_weight", "consistency_weight")
# The result depends on these, the data and the model; the other arguments may change when a run is resumed.
RESULT_ARGUMENTS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "adam_betas",
    "seed",
    "lr_scheduler",
    "warmup_steps",
    "max_grad_norm",
    "mixed_precision",
    "validation_fraction",
    "synthetic",
)


@dataclass
class FBCLIPTrainingArguments:
    r"""
    Arguments of [`train`].

    Args:
        output_dir (`str` or `Path`): Folder for the trained model, the log and the checkpoints.
        epochs (`int`, defaults to 3): Passes over the training images.
        batch_size (`int`, defaults to 4): Images an optimiser step, over all processes together, so that a run gives
            the same model on one device or on many.
        learning_rate (`float`, defaults to 5e-5): Adam's learning rate, at its peak.
        adam_betas (`tuple[float, float]`, defaults to `(0.5, 0.999)`): Adam's decay rates.
        seed (`int`, defaults to 42): Seeds the order of the images, the held-out share and synthetic anomalies.
        lr_scheduler (`str`, defaults to `"constant"`): One of transformers' schedules: `"constant"`,
            `"constant_with_warmup"`, `"linear"`, `"cosine"`, `"polynomial"` or `"inverse_sqrt"`.
        warmup_steps (`int`, defaults to 0): Optimiser steps over which the learning rate rises from 0.
        max_grad_norm (`float`, *optional*): Gradients of a larger norm are scaled down to it.
        mixed_precision (`str`, defaults to `"no"`): `"bf16"` or `"fp16"` for automatic mixed precision.
        gradient_accumulation_steps (`int`, defaults to 1): Parts that the batch is computed in, one after the other.
            The result is that of the whole batch.
        gradient_checkpointing (`bool`, defaults to `False`): Compute the head's activations a second time in the
            backward pass instead of keeping them.
        validation_fraction (`float` in `[0, 1)`, defaults to 0.0): Share of the training data that is held out. The
            model of the epoch with the least loss on it is kept; without it, that of the last epoch.
        synthetic (`bool`, defaults to `False`): Train on the normal images alone, and on anomalies that are painted
            into half of them, anew in each epoch.
        focal_gamma (`float`, *optional*): Exponent of the focal losses: the larger, the less counts what is told right
            already. Defaults to the model's, 4 as published; 0 gives plain cross entropy.
        dice_weight, consistency_weight (`float`, *optional*): Weights of the two other losses. Default to the model's,
            0.2 and 0.15 as published. All three stay in the trained model's configuration.
        cache_features (`str` or `Path`, *optional*): Folder that keeps the frozen vision tower's tokens, which are
            then computed once. About 14 MB an image for ViT-L/14 at 518 pixels in bfloat16.
        cache_dtype (`str`, defaults to `"bfloat16"`): Number type of the tokens kept, or `"float32"`.
        checkpoint_steps (`int`, *optional*): Optimiser steps from one checkpoint to the next. There is always one at
            the end of an epoch.
        checkpoint_limit (`int`, defaults to 2): Checkpoints kept, beside the best one.
        resume (`str` or `Path`, *optional*): A checkpoint to go on from, or `"auto"` for the newest in `output_dir`
            if there is any.
        num_workers (`int`, defaults to 0): Processes that read images ahead of the training.
        report_to (`list`, *optional*): Trackers beside the log, by accelerate's names (`"tensorboard"`, `"wandb"`,
            `"trackio"` …) or objects of its `GeneralTracker`.

    Raises:
        `ValueError`: An argument is out of its range; the message names it.
    """

    output_dir: str | Path
    epochs: int = 3
    batch_size: int = 4
    learning_rate: float = 5e-5
    adam_betas: tuple[float, float] = (0.5, 0.999)
    seed: int = 42
    lr_scheduler: Schedule = "constant"
    warmup_steps: int = 0
    max_grad_norm: float | None = None
    mixed_precision: Precision = "no"
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    validation_fraction: float = 0.0
    synthetic: bool = False
    focal_gamma: float | None = None
    dice_weight: float | None = None
    consistency_weight: float | None = None
    cache_features: str | Path | None = None
    cache_dtype: CacheType = "bfloat16"
    checkpoint_steps: int | None = None
    checkpoint_limit: int = 2
    resume: str | Path | None = None
    num_workers: int = 0
    report_to: list[str | GeneralTracker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output_dir = Path(self.output_dir)
        counts = ("epochs", "batch_size", "gradient_accumulation_steps", "checkpoint_limit", "checkpoint_steps")
        for name in counts:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"`{name}` is {value}, but must be a whole number from 1 on.")
        for name in ("seed", "warmup_steps", "num_workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}, but must be at least 0.")
        for name in ("learning_rate", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"`{name}` is {value}, but must be greater than 0.")
        for name in LOSS_ARGUMENTS:
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"`{name}` is {value}, but must be at least 0.")
        if not all(0 <= beta < 1 for beta in self.adam_betas):
            raise ValueError(f"`adam_betas` are {self.adam_betas}, but must be from 0 to less than 1.")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"`validation_fraction` is {self.validation_fraction}, but must be in [0, 1).")
        self._check_choices()

    def _check_choices(self) -> None:
        for name, choices in (("lr_scheduler", Schedule), ("mixed_precision", Precision), ("cache_dtype", CacheType)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}, but must be one of {', '.join(get_args(choices))}."
                )
        if self.lr_scheduler == "constant" and self.warmup_steps:
            raise ValueError("`warmup_steps` has no effect on the constant schedule; choose constant_with_warmup.")
        if self.synthetic and self.cache_features is not None:
            raise ValueError("`cache_features` cannot hold `synthetic` anomalies, which differ in each epoch.")
        for tracker in self.report_to:
            if isinstance(tracker, str) and tracker not in map(str, get_available_trackers()):
                raise ValueError(
                    f"`report_to` has {tracker!r}, which is not installed or no tracker of accelerate; install it, or "
                    "leave it out, as the log is always there."
                )

    def record(self) -> dict[str, Any]:
        """All that says how the model came about, as JSON has it."""
        others = ("gradient_accumulation_steps", "gradient_checkpointing")
        return self.result_record() | {name: getattr(self, name) for name in others}

    def result_record(self) -> dict[str, Any]:
        """The arguments that the result depends on, as JSON has them."""
        record = {name: getattr(self, name) for name in RESULT_ARGUMENTS}
        record["adam_betas"] = list(self.adam_betas)
        record["cache_dtype"] = None if self.cache_features is None else self.cache_dtype
        return record
