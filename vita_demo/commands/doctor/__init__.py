"""A preflight: can the model run here?  One module for each group of findings; nothing is loaded or downloaded."""
