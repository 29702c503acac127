"""Token ids of a prompt with places for learnable vectors."""

from transformers import PreTrainedTokenizerBase

from .configuration_fbclip import PADDING_ID

PLACEHOLDER = "X"  # a learnable vector replaces the embedding of this word


def encode_prompt(prompt: str, tokenizer: PreTrainedTokenizerBase, length: int, context_length: int) -> list[int]:
    """
    Start, placeholders, words, end, zeros.

    Args:
        prompt: its words.
        tokenizer: CLIP's.
        length: number of placeholders.
        context_length: number of ids.

    Raises:
        ValueError: if the prompt is empty or longer than the context, or the tokenizer is of another kind.
    """
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"A prompt must be a text such as 'object with defect.', but is {prompt!r}.")
    placeholder = tokenizer(PLACEHOLDER, add_special_tokens=False)["input_ids"]
    words = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if len(placeholder) != 1 or start is None or end is None:
        raise ValueError(f"`tokenizer` must have start and end tokens and read {PLACEHOLDER!r} as one token.")
    ids = [start, *placeholder * length, *words, end]
    if len(ids) > context_length:
        raise ValueError(
            f"The prompt {prompt!r} has {len(words)} tokens, but {context_length - length - 2} "
            f"fit the context of {context_length} beside {length} learnable vectors; shorten it."
        )
    return ids + [PADDING_ID] * (context_length - len(ids))
