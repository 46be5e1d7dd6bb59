"""Show what the model would see."""
