"""Inference beside the recognition model."""
