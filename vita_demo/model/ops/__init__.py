"""Building blocks that know no model: CPU arithmetic, timing, uploads."""
