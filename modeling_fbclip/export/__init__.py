"""Exports a model for ONNX Runtime or OpenVINO."""

from modeling_fbclip.export.folder import OutOfBoundsError, export
from modeling_fbclip.export.parity import Parity

__all__ = ["OutOfBoundsError", "Parity", "export"]
