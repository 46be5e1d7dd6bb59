"""A miniature of VITA-1.5, trained on a synthetic world of simple shapes."""
