"""What a user reads when something is wrong."""


def one_line(message: object) -> str:
    """A library's message on one line, as long as a terminal can take in at a glance."""
    text = " ".join(str(message).split())
    return text if len(text) <= 400 else f"{text[:399]}…"
