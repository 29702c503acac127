"""Prompts that visitors write, as a model reads them."""

from typing import Any

from torch import Tensor

from modeling_fbclip.detection.detector import Detector, Prompts

NO_PROMPTS = "", ""


def own_prompts(detector: Detector) -> Prompts:
    """The model's own prompts for normal and anomalous images; empty if it has no tokenizer to decode them."""
    processor = detector.processor
    ids: Any = detector.model.config.prompt_input_ids
    if processor.tokenizer is None:
        return NO_PROMPTS
    words = [[i for i in row[1 + processor.prompt_length :] if i != 0][:-1] for row in ids]
    normal, anomalous = map(processor.tokenizer.decode, words)
    return normal.strip(), anomalous.strip()


def read_prompts(detector: Detector, normal: str, anomalous: str) -> tuple[Tensor | None, list[str]]:
    """
    Token ids of shape `(2, context_length)`, and what is to be said about the words. `None` for the model's own
    prompts, which two empty texts mean too.

    Raises:
        ValueError: the model cannot read them, or cannot tell them apart.
    """
    if (normal, anomalous) in (NO_PROMPTS, own_prompts(detector)):
        return None, []
    if detector.processor.tokenizer is None:
        raise ValueError("This model has no tokenizer, so it keeps its own prompts; leave both fields empty.")
    for text, what in ((normal, "faultless"), (anomalous, "faulty")):
        if not text:
            raise ValueError(f"Say what a {what} image shows, or leave both fields empty for the model's own prompts.")
    ids = detector.processor.encode_prompts(normal, anomalous)
    unknown = list(dict.fromkeys(word for text in (normal, anomalous) for word in _unknown(detector, text)))
    not_known = f"This model does not know {', '.join(map(repr, unknown))}" if unknown else ""
    if ids[0].equal(ids[1]):
        reason = f"{not_known}, so both" if unknown else "Both"
        raise ValueError(f"{reason} prompts are the same to it; change one of them.")
    return ids, [f"{not_known}; other words say more to it."] if unknown else []


def _unknown(detector: Detector, text: str) -> list[str]:
    """The words that the vocabulary lacks."""
    tokenizer: Any = detector.processor.tokenizer
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown == tokenizer.eos_token_id or not tokenizer.is_fast:  # CLIP's knows every byte
        return []
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, padding=False)
    spans = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [text[start:end] for token, (start, end) in spans if token == unknown]
