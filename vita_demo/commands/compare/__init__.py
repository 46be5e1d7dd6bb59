"""One request in several modes: their answers must be equal; their times and rates are compared."""
