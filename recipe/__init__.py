"""The recipe of the bundled model: procedural images, distillation, CLIP, FB-CLIP, calibration."""
