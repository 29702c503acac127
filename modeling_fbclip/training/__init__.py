"""Fine-tuning of FB-CLIP: `train` with `FBCLIPTrainingArguments`."""

from modeling_fbclip.training.arguments import FBCLIPTrainingArguments
from modeling_fbclip.training.loop import train

__all__ = ["FBCLIPTrainingArguments", "train"]
