"""Tests of transformers that do not apply to FB-CLIP, each with its reason."""

REASONS: dict[str, str] = {}
