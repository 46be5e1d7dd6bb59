"""One token at a time: the cache's owner and the ways to take a step."""
