"""What a visitor has chosen: models, prompts, and whether several images are compared with one another."""

from typing import Any, NamedTuple

MAX_PROMPT = 300  # characters


class Side(NamedTuple):
    """A model's name, and what a faultless and a faulty image shows; two empty texts are the model's own prompts."""

    model: str
    normal: str = ""
    anomalous: str = ""


class Settings(NamedTuple):
    """
    One side, or two to be shown side by side; whether large images are seen in tiles too; whether several images judge
    one another.
    """

    sides: tuple[Side, ...]
    tiles: bool = False
    mutual: bool = False

    @classmethod
    def read(cls, raw: tuple[Any, ...]) -> "Settings":
        """
        The values of the page's fields, in their order: three of the first side, three of the second, whose model is
        empty if there is none, `tiles` and `mutual`. A client may send anything.

        Raises:
            ValueError: a value is of another type, or a prompt too long.
        """
        if len(raw) != 8:
            raise ValueError(f"There are 8 settings, not {len(raw)}.")
        *texts, tiles, mutual = raw
        names = ["model", "normal prompt", "anomalous prompt"] * 2
        values = [_text(name, value) for name, value in zip(names, texts, strict=True)]
        for name, value in (("tiles", tiles), ("comparison", mutual)):
            if not isinstance(value, bool):
                raise ValueError(f"The switch for {name} is true or false, not {type(value).__name__}.")
        sides = Side(*values[:3]), Side(*values[3:])
        return cls(sides if sides[1].model else sides[:1], tiles, mutual)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"The {name} must be a text, not {type(value).__name__}.")
    if len(value) > MAX_PROMPT:
        raise ValueError(f"The {name} has {len(value)} characters; at most {MAX_PROMPT} fit.")
    return value.strip()
