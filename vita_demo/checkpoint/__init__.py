"""The small files of a checkpoint: its location, hyper-parameters and tokenizer.  Imports no torch."""
