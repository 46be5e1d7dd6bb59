"""Linear layers with weights in int8 or int4."""
