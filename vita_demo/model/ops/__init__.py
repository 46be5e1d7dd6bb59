"""Building blocks that know no model: CPU arithmetic and timing."""
