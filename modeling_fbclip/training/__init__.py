"""Fine-tuning of FB-CLIP: `train` with `FBCLIPTrainingArguments`. `train` is imported when it is first used."""

from typing import TYPE_CHECKING, Any

from modeling_fbclip.training.arguments import FBCLIPTrainingArguments

if TYPE_CHECKING:
    from modeling_fbclip.training.loop import train

__all__ = ["FBCLIPTrainingArguments", "train"]


def __getattr__(name: str) -> Any:
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modeling_fbclip.training.loop import train

    return train
