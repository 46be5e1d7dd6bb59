"""A preflight check: can the model run here?  One module for each group of findings; no weights, no downloads."""
