"""The small files of a checkpoint: where it lies, its numbers and its tokenizer.  Imports no torch."""
