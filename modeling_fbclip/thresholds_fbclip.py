"""The thresholds of a processor: of all images, of categories, and of other ways to view an image."""

import logging
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

BORDER = 0.5  # where references map the border between normal and anomalous
Thresholds = dict[str, float]  # `threshold` and `pixel_threshold`


class ThresholdsMixin:
    r"""
    Thresholds hold for the mode that they were set in: the size, aspect and tiles that the model sees an image in, see
    [`~FBCLIPProcessor.mode`], and whether images are compared with references.
    """

    threshold: float
    pixel_threshold: float
    category_thresholds: dict[str, Thresholds] | None
    thresholds_with_references: bool
    thresholds_mode: str | None
    other_thresholds: dict[str, Thresholds] | None

    def general_thresholds(self, with_references: bool, mode: str | None = None) -> Thresholds:
        """
        The `threshold` and `pixel_threshold` of images of no category, compared with references or not. If there are
        none for the mode, a warning says so, once.
        """
        if with_references != self.thresholds_with_references:  # they were set for other numbers
            return {"threshold": BORDER, "pixel_threshold": BORDER}
        own = {"threshold": self.threshold, "pixel_threshold": self.pixel_threshold}
        if self.is_mode(mode):
            return own
        if not self.has_mode(mode):
            tell_other_mode(str(self.thresholds_mode), str(mode))
        return own | (self.other_thresholds or {}).get(str(mode), {})

    def thresholds_of(self, category: str) -> Thresholds:
        r"""
        The `threshold` and `pixel_threshold` of a category, as arguments of the pipeline and of
        [`~FBCLIPProcessor.post_process_anomaly_detection`].

        Raises:
            `ValueError`: The category is not in `category_thresholds`.
        """
        known = self.category_thresholds or {}
        if category not in known:
            has = f"has those of {', '.join(map(repr, known))}" if known else "has none by category"
            raise ValueError(f"The processor has no thresholds of the category {category!r}; it {has}.")
        return {"threshold": self.threshold, "pixel_threshold": self.pixel_threshold} | known[category]

    def set_thresholds(self, threshold: float, pixel_threshold: float, mode: str, with_references: bool) -> None:
        """Sets the thresholds of a mode. Those of other modes are kept, but not beside those with references."""
        others = dict(self.other_thresholds or {})
        if self.thresholds_mode is not None:
            others[self.thresholds_mode] = {"threshold": self.threshold, "pixel_threshold": self.pixel_threshold}
        others.pop(mode, None)
        is_alike = with_references == self.thresholds_with_references
        self.other_thresholds = others if others and is_alike else None
        if not is_alike or not self.is_mode(mode):
            self.category_thresholds = None
        self.threshold, self.pixel_threshold = threshold, pixel_threshold
        self.thresholds_mode, self.thresholds_with_references = mode, with_references

    def is_mode(self, mode: str | None) -> bool:
        """Whether the thresholds were set in this mode, or in one that was not noted."""
        return mode is None or self.thresholds_mode in (None, mode)

    def has_mode(self, mode: str | None) -> bool:
        """Whether there are thresholds for this mode."""
        return self.is_mode(mode) or str(mode) in (self.other_thresholds or {})


def check_thresholds(name: str, given: dict[str, Thresholds] | None) -> dict[str, Thresholds] | None:
    """Thresholds by name, as floats; `None` if there are none. ValueError if one is unknown or out of range."""
    for key, own in (given or {}).items():
        if unknown := sorted(set(own) - {"threshold", "pixel_threshold"}):
            raise ValueError(f"`{name}[{key!r}]` has {unknown[0]!r}, but may have thresholds only.")
    return {
        key: {which: check_probability(f"{name}[{key!r}]", value) for which, value in own.items()}
        for key, own in (given or {}).items()
    } or None


def check_probability(name: str, value: Any) -> float:
    """The value as a float; ValueError if it is not between 0 and 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` is {value}, but must be between 0 and 1.")
    return float(value)


@cache
def tell_other_category(category: str, used: str) -> None:
    """Warns once."""
    logger.warning("The thresholds of the category %r are not for %s; those of all images decide.", category, used)


@cache
def tell_other_mode(known: str, used: str) -> None:
    """Warns once."""
    logger.warning("Thresholds for %s are used for %s; set them for it by `fbclip calibrate`.", known, used)
