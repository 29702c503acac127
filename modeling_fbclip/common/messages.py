"""What a user reads when something is wrong."""

import re

LONGEST = 400  # characters; what a terminal shows at a glance
LONG_NAME = re.compile(r"\S{200,}")  # of a file; its middle is left out
# How huggingface_hub's strict dataclasses introduce an error of one of our own checks.
CLASS_VALIDATION = re.compile(r"^Class validation error for validator '\w+': \w+Error: ")
FIELD_VALIDATION = re.compile(r"^Validation error for field '(\w+)': \w+Error: ")


class ArgumentError(ValueError):
    """
    The value of an argument cannot be used.

    Args:
        argument: the argument's Python name, such as `"batch_size"`. The command line makes `--batch-size` of it.
        problem: what is wrong, and what to do.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(problem)
        self.argument = argument


def one_line(message: object) -> str:
    """A library's message on one line, long names without their middle, cut at `LONGEST` characters."""
    text = CLASS_VALIDATION.sub("", " ".join(str(message).split()))
    text = FIELD_VALIDATION.sub(r"`\1`: ", text)
    text = LONG_NAME.sub(lambda name: f"{name[0][:80]}…{name[0][-80:]}", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
