"""Weights from a checkpoint into a model, and back."""
