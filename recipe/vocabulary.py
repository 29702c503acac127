"""The words of the bundled model and their tokenizer."""

from __future__ import annotations

from functools import lru_cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .captions import ANOMALOUS_STATES, CAPTIONS, NORMAL_STATES, PROMPT_NOUNS, PROMPT_STATES
from .defects import KINDS
from .scenes import NAMES

CONTEXT = 77
PLACEHOLDER = "X"
PROMPT_LENGTH = 12
PADDING, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unknown>"


def words() -> list[str]:
    sentences = (*CAPTIONS, *NORMAL_STATES, *ANOMALOUS_STATES, *KINDS, *NAMES, *PROMPT_NOUNS, *PROMPT_STATES)
    plain = " ".join(sentences).replace("{surface}", "").replace("{state}", "").replace("{kind}", "")
    return sorted(set(plain.replace(".", " . ").split()))


@lru_cache(maxsize=1)
def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word. Padding is 0. End-of-text is the largest id, because CLIP finds it by that."""
    listed = [PADDING, START, UNKNOWN, PLACEHOLDER, *words(), END]
    ids = {word: index for index, word in enumerate(listed)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PADDING, bos_token=START, eos_token=END, unk_token=UNKNOWN,
        model_max_length=CONTEXT,
    )  # fmt: skip


def encode(sentences: list[str]) -> Tensor:
    """Token ids (T, 77), padded with 0."""
    ids = build_tokenizer()(sentences, padding="max_length", truncation=True, max_length=CONTEXT)["input_ids"]
    return torch.tensor(ids)
