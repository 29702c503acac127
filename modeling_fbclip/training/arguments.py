"""
The options of a training run: type, default, range and help text of each. The defaults are the published ones; a
model's configuration may have others, for itself. `fbclip train` makes its options from here.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_origin

from modeling_fbclip.common.messages import ArgumentError

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

    from modeling_fbclip.modeling_fbclip import FBCLIPModel

# The schedules of transformers that need nothing but the number of warm-up steps and of all steps.
Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial", "inverse_sqrt"]
# Those whose rates depend on the number of all steps.
ENDING_SCHEDULES = ("linear", "cosine", "polynomial")
# Weights of the loss. The model's configuration has them too.
LOSS_ARGUMENTS = ("focal_gamma", "dice_weight", "consistency_weight")
# What a model's configuration may have in `training`.
MODEL_ARGUMENTS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "adam_betas",
    "lr_scheduler",
    "warmup_steps",
    "max_grad_norm",
    "augment",
)
GIVEN, OF_MODEL, PUBLISHED, DEFAULT = "given", "the model's", "published", "default"  # where a setting comes from
NO_CACHE = "none"
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
    "augment",
    "synthetic",
)


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` on, without `low` if it `is_open`, and less than `below`."""

    low: float
    below: float = math.inf
    is_open: bool = False

    def __contains__(self, value: float) -> bool:
        return (value > self.low if self.is_open else value >= self.low) and value < self.below

    def __str__(self) -> str:
        lowest = f"greater than {self.low}" if self.is_open else f"at least {self.low}"
        return lowest if self.below == math.inf else f"{lowest} and less than {self.below}"


COUNT, FROM_ZERO, POSITIVE, SHARE = Range(1), Range(0), Range(0, is_open=True), Range(0, below=1)


def option(default: Any, text: str, allowed: Range | None = None, unset: str | None = None) -> Any:
    """A field with its help text, its allowed range, and the words of the help for an unset value."""
    given: dict[str, Any] = {"default_factory": list} if default == [] else {"default": default}
    return field(metadata={"help": text, "allowed": allowed, "unset": unset}, **given)


@dataclass
class FBCLIPTrainingArguments:
    r"""
    Arguments of [`train`].

    Raises:
        `ValueError`: An argument is out of its range. The message has its name, its value and the range.
    """

    output_dir: str | Path = field(metadata={"help": "Folder for model, log and checkpoints."})
    epochs: int = option(3, "Passes over the images.", COUNT)
    batch_size: int = option(4, "Images a step, over all processes.", COUNT)
    learning_rate: float = option(5e-5, "Adam's learning rate, at its peak.", POSITIVE)
    adam_betas: tuple[float, float] = option((0.5, 0.999), "Adam's decay rates.", SHARE)
    seed: int = option(42, "Of order, held-out share and synthetic anomalies.", FROM_ZERO)
    lr_scheduler: Schedule = option("constant", f"Course of the rate: {', '.join(get_args(Schedule))}.")
    warmup_steps: int = option(0, "Steps over which the rate rises from 0.", FROM_ZERO)
    max_grad_norm: float | None = option(None, "Larger gradients are scaled down to this norm.", POSITIVE, "none are")
    mixed_precision: Literal["no", "bf16", "fp16"] = option("no", "Automatic mixed precision.")
    gradient_accumulation_steps: int = option(
        1, "Parts a batch is computed in, to save memory. The result is the same.", COUNT
    )
    gradient_checkpointing: bool = option(False, "Compute activations twice, to save memory.")
    validation_fraction: float | None = option(
        None,
        "Share of the data held out, to choose among the model before training and its epochs; 0: take the last.",
        SHARE,
        "a fifth (at most 200) of 20 images or more, 8 of each label",
    )
    augment: bool = option(
        False, "Flip, turn, shift, scale and light the images, in three of four epochs. Not where a side matters."
    )
    synthetic: bool = option(
        False, "Paint anomalies into half of the good images; use no others. References suit good images better."
    )
    focal_gamma: float | None = option(
        None, "Exponent of the focal losses; 0: cross entropy.", FROM_ZERO, "the model's"
    )
    dice_weight: float | None = option(None, "Weight of the dice loss.", FROM_ZERO, "the model's")
    consistency_weight: float | None = option(None, "Weight of the consistency loss.", FROM_ZERO, "the model's")
    cache_features: str | Path | None = option(
        None,
        "Folder to keep the frozen tower's tokens in, 14 MB an image at the paper's size; none: compute them anew.",
        unset="beside the output while it trains, where it saves time",
    )
    cache_dtype: Literal["bfloat16", "float32"] = option("bfloat16", "Number type of the tokens in that folder.")
    checkpoint_steps: int | None = option(
        None, "Steps between checkpoints, besides one at the end of each epoch.", COUNT, "only those"
    )
    checkpoint_limit: int = option(2, "Checkpoints kept, besides the best.", COUNT)
    resume: str | Path | None = option(
        None, "A checkpoint, or 'auto' for the newest in the output folder if any.", unset="none"
    )
    num_workers: int = option(0, "Processes that read images.", FROM_ZERO)
    report_to: list["str | GeneralTracker"] = option(
        [], "tensorboard, wandb, trackio …; may be repeated.", unset="the log alone"
    )

    @classmethod
    def for_model(cls, model: "FBCLIPModel", output_dir: str | Path, as_published: bool = False, **given: Any) -> Self:
        r"""
        The arguments that suit a model: those given, else those of its configuration, else the published ones.

        Args:
            model ([`FBCLIPModel`]): The model to be trained.
            output_dir (`str` or `Path`): Folder for model, log and checkpoints.
            as_published (`bool`, defaults to `False`): Train as the paper does, whatever the model's configuration
                has: with the published losses, without augmentation and held-out images.
            given: Any other argument.

        Raises:
            `ValueError`: An argument is out of its range, or the configuration has a setting that cannot be used.
        """
        if as_published:
            own, origin = _published(), PUBLISHED
        else:
            own, origin = _settings_of(model), OF_MODEL
        made = cls(output_dir, **(own | given))
        made.origins |= dict.fromkeys((*own, *LOSS_ARGUMENTS), origin) | dict.fromkeys(given, GIVEN)
        return made

    @classmethod
    def check_each(cls, given: Mapping[str, Any]) -> None:
        """ValueError if one of the arguments is out of its range, whatever the others are."""
        for argument in fields(cls):
            if argument.name in given:
                _check(argument, given[argument.name])
        _check_trackers(given.get("report_to", []))

    def __post_init__(self) -> None:
        self.check_each(vars(self))
        self.output_dir = Path(self.output_dir)
        self.adam_betas = tuple(self.adam_betas)  # type: ignore[assignment] # a list in a configuration
        if str(self.cache_features) == NO_CACHE:
            self.cache_features = NO_CACHE
        self.origins = {
            argument.name: DEFAULT if getattr(self, argument.name) == argument.default else GIVEN
            for argument in fields(self)
        }
        if self.lr_scheduler == "constant" and self.warmup_steps:
            raise ArgumentError(
                "warmup_steps",
                "`warmup_steps` has no effect on the constant schedule; choose `lr_scheduler` constant_with_warmup.",
            )
        if self.synthetic and self.cache_features not in (None, NO_CACHE):
            raise ArgumentError(
                "cache_features", "`cache_features` cannot hold `synthetic` anomalies, which differ in each epoch."
            )

    def record(self) -> dict[str, Any]:
        """Everything about how the model came about, as JSON values."""
        others = ("gradient_accumulation_steps", "gradient_checkpointing")
        return self.result_record() | {name: getattr(self, name) for name in others}

    def result_record(self) -> dict[str, Any]:
        """The arguments that the result depends on, as JSON values."""
        record = {name: getattr(self, name) for name in RESULT_ARGUMENTS}
        record["adam_betas"] = list(self.adam_betas)
        return record


def published_settings() -> dict[str, Any]:
    """What the configuration of a published model has in `training`, as JSON values."""
    values: dict[str, Any] = {argument.name: argument.default for argument in fields(FBCLIPTrainingArguments)}
    return {name: list(values[name]) if name == "adam_betas" else values[name] for name in MODEL_ARGUMENTS}


def _published() -> dict[str, Any]:
    """As [`published_settings`], with the losses, and without held-out images."""
    from modeling_fbclip.configuration_fbclip import FBCLIPConfig

    config = FBCLIPConfig()
    losses = {name: getattr(config, name) for name in LOSS_ARGUMENTS}
    return published_settings() | losses | {"validation_fraction": 0.0}


def _settings_of(model: "FBCLIPModel") -> dict[str, Any]:
    """Those of its configuration. ArgumentError for one that there is not, or that is out of its range."""
    own = dict(model.config.training or {})
    if unknown := sorted(set(own) - set(MODEL_ARGUMENTS)):
        raise ArgumentError("model", f"has {unknown[0]!r} in `training` of its config.json, no such setting")
    try:
        FBCLIPTrainingArguments.check_each(own)
    except ValueError as error:
        raise ArgumentError("model", f"has in `training` of its config.json: {error}") from error
    return own


def _check(argument: Field[Any], value: Any) -> None:
    name, allowed = argument.name, argument.metadata.get("allowed")
    if get_origin(argument.type) is Literal and value not in get_args(argument.type):
        choices = ", ".join(get_args(argument.type))
        raise ArgumentError(name, f"`{name}` is {value!r}, but must be one of {choices}.")
    if argument.type is bool and not isinstance(value, bool):
        raise ArgumentError(name, f"`{name}` is {value!r}, but must be true or false.")
    if allowed is None or (value is None and NoneType in get_args(argument.type)):
        return
    is_pair = get_origin(argument.type) is tuple
    values = value if is_pair and isinstance(value, list | tuple) else (value,)
    is_whole = argument.type in (int, int | None)
    kind = int if is_whole else int | float
    is_number = all(isinstance(number, kind) and not isinstance(number, bool) for number in values)
    if not is_number or len(values) != 1 + is_pair or not all(number in allowed for number in values):
        what = "a whole number of " if is_whole else "two numbers of " if is_pair else ""
        raise ArgumentError(name, f"`{name}` is {value}, but must be {what}{allowed}.")


def _check_trackers(report_to: "list[str | GeneralTracker]") -> None:
    names = [tracker for tracker in report_to if isinstance(tracker, str)]
    if not names:
        return
    from accelerate.tracking import get_available_trackers

    if unknown := set(names) - set(map(str, get_available_trackers())):
        raise ArgumentError(
            "report_to",
            f"`report_to` has {', '.join(map(repr, sorted(unknown)))}, which is not installed or no tracker of "
            "accelerate; install it or leave it out. The log is always written.",
        )


FBCLIPTrainingArguments.__doc__ = f"{FBCLIPTrainingArguments.__doc__}\n    Args:\n" + "".join(
    f"        {argument.name}: {argument.metadata['help']}\n" for argument in fields(FBCLIPTrainingArguments)
)
