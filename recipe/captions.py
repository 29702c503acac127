"""Captions that name a surface and its state, in the words of FB-CLIP's two prompts."""

from __future__ import annotations

from modeling_fbclip.training.painting.noise import Generator

from .defects import KINDS

CAPTIONS = ("a photo of {surface} {state}.", "{surface} {state}.", "a close view of {surface} {state}.")
NORMAL_STATES = ("without defect", "without defect", "without {kind}", "without damage", "in good state")
ANOMALOUS_STATES = ("with {kind}", "with {kind}", "with {kind}", "with defect", "with damage")

# Prompts of the patch terms: mostly the paper's words, sometimes others, so that other prompts work too.
PROMPT_NOUNS = ("object", "object", "object", "surface", "part", "material", "product")
PROMPT_STATES = ("defect", "defect", "defect", "damage")


def caption(rng: Generator, surface: str, kind: str | None) -> str:
    """A sentence such as "a photo of brushed metal with scratch."; the surface is "object" every third time."""
    states = NORMAL_STATES if kind is None else ANOMALOUS_STATES
    state = str(rng.choice(states)).format(kind=kind or str(rng.choice(KINDS)))
    name = "object" if rng.random() < 0.35 else surface
    return str(rng.choice(CAPTIONS)).format(surface=name, state=state)


def state_prompt(noun: str, state: str) -> str:
    """A prompt as FB-CLIP writes it: "object without defect.", "object with crack."."""
    return f"{noun} {state}."
