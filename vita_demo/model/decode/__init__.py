"""Decoding one token at a time: the decoder, and its step for CPUs and for GPUs."""
