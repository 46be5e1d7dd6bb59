"""Ask once, write the answer, save and replay the run."""
