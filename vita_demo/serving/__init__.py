"""The HTTP server: an OpenAI-compatible interface to one model, and a page for people."""
