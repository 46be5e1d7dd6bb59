"""Linear layers whose weights are held in 8 or 4 bits."""
