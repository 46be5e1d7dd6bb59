"""The same request through several ways to generate: what they gave, how fast each was, and whether they agree."""
