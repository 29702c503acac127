"""What is told before the first step: the images, what is odd about them, what they can teach; the settings."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from modeling_fbclip.configuration_fbclip import FBCLIPConfig
from modeling_fbclip.training.arguments import LOSS_ARGUMENTS, FBCLIPTrainingArguments
from modeling_fbclip.training.record import RowDigest
from modeling_fbclip.training.selection import FEWEST_IMAGES, FEWEST_OF_A_LABEL, default_share

logger = logging.getLogger(__name__)

AUGMENTED = (
    "In three of four epochs, images are flipped, turned by quarters, shifted and enlarged by up to 10 %, and "
    "made up to 15 % lighter or darker; where a side or a direction matters, train without (--no-augment)."
)


def tell_inventory(labels: Sequence[int], digests: Sequence[RowDigest], held_out: Sequence[int]) -> None:
    """Logs what `count_images` counts, what is odd, and what is held out, or why nothing is."""
    lines = [count_images(labels, digests), *find_odd(labels, digests)]
    if held_out:
        good = sum(labels[index] == 0 for index in held_out)
        lines.append(f"held out to judge by: {len(held_out)} images, {good} of them good")
    else:
        lines.append(few_images_advice(labels) or "No image is held out: the last epoch is taken as it is.")
    for line in lines:
        logger.warning("%s", line)


def tell_settings(args: FBCLIPTrainingArguments, config: FBCLIPConfig) -> None:
    """Logs each setting that the result depends on, those from one origin in one line."""
    values = args.result_record() | {name: getattr(config, name) for name in LOSS_ARGUMENTS}
    for origin in dict.fromkeys(args.origins.values()):
        own = [f"{name} {value}" for name, value in values.items() if args.origins[name] == origin]
        if own:
            logger.warning("%s settings: %s", origin, ", ".join(own))
    if args.augment:
        logger.warning("%s", AUGMENTED)


def check_learnable(labels: Sequence[int], digests: Sequence[RowDigest], synthetic: bool) -> None:
    """
    ValueError if neither labels nor masks tell normal from anomalous: there are no other good images than those that
    are anomalous too, and no mask of an anomalous image marks a part of it. Synthetic anomalies have masks.
    """
    good, anomalous = _by_label(labels, digests)
    own = {digest.image for digest in good} - {digest.image for digest in anomalous}
    if synthetic or own or any(digest.shows_both for digest in anomalous):
        return
    if not good:
        raise ValueError(
            "None of the images is good, and no mask shows where one is normal and where anomalous, so there is "
            "nothing to learn; add good images or masks."
        )
    raise ValueError(
        "Every good image has the pixels of an anomalous one, so there is nothing to learn; mend the labels."
    )


def count_images(labels: Sequence[int], digests: Sequence[RowDigest]) -> str:
    """Good and anomalous images and their masks in one line; what is odd is left out where there is none of it."""
    good, anomalous = _by_label(labels, digests)
    masks = sum(digest.has_mask for digest in digests)
    without = 0 if masks == 0 else sum(not digest.has_mask for digest in anomalous)
    odd = [
        (without, "anomalous image", " without a mask"),
        (sum(digest.marked == 0 for digest in anomalous), "empty mask", " of anomalous images"),
        (sum(digest.marked == 1 for digest in anomalous), "mask", " of the whole image"),
        (sum(bool(digest.marked) for digest in good), "mask", " of good images that mark something"),
        (sum(digest.has_other_aspect for digest in digests), "mask", " of another aspect than the image"),
        (len(digests) - len({digest.image for digest in digests}), "image", " with the pixels of another"),
    ]
    counted = [_number(masks, "mask") if masks else "no masks"]
    counted += [_number(count, noun) + rest for count, noun, rest in odd if count]
    return f"{_number(len(digests), 'image')}: {len(good)} good, {len(anomalous)} anomalous; {', '.join(counted)}"


def find_odd(labels: Sequence[int], digests: Sequence[RowDigest]) -> Iterator[str]:
    """A line for each thing that keeps a part of the model from learning."""
    good, anomalous = _by_label(labels, digests)
    if not good:
        yield "None of the images is good: only maps can be learnt, not the score of an image; add good images."
    masked = [digest for digest in anomalous if digest.has_mask]
    if masked and not any(digest.marked for digest in masked):
        yield "Every mask of an anomalous image is empty, so maps learn to be empty; mend the masks or leave them out."
    if both := {digest.image for digest in good} & {digest.image for digest in anomalous}:
        yield f"{_number(len(both), 'picture')} both among the good and among the anomalous images; mend the labels."


def few_images_advice(labels: Sequence[int]) -> str | None:
    """What suits so few images better than training; `None` for enough of them, see `default_share`."""
    if default_share(labels):
        return None
    counts = Counter(labels)
    return (
        f"So few images ({counts[0]} good, {counts[1]} anomalous) cannot judge the training: that takes "
        f"{FEWEST_IMAGES}, and {FEWEST_OF_A_LABEL} of each label. References need no training and suit few images: "
        "fbclip remember."
    )


def _by_label(labels: Sequence[int], digests: Sequence[RowDigest]) -> tuple[list[RowDigest], list[RowDigest]]:
    """The good and the anomalous ones."""
    good, anomalous = (
        [digest for digest, label in zip(digests, labels, strict=True) if label == wanted] for wanted in (0, 1)
    )
    return good, anomalous


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
