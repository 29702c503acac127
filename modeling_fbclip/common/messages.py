"""What a user reads when something is wrong."""

import re

# How huggingface_hub's strict dataclasses lead in what one of our own checks says.
VALIDATOR = re.compile(r"^(Class validation error for validator|Validation error for field) '\w+': \w+Error: ")


def one_line(message: object) -> str:
    """A library's message on one line, as long as a terminal can take in at a glance."""
    text = VALIDATOR.sub("", " ".join(str(message).split()))
    return text if len(text) <= 400 else f"{text[:399]}…"
