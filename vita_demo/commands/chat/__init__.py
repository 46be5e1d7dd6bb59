"""Talk in turns."""
