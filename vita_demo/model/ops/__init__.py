"""Products and copies in the way that this processor does fastest."""
