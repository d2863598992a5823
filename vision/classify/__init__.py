"""Classifying with a bundle: onnxruntime and numpy, no torch."""
