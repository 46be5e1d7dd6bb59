"""VITA-1.5 in plain torch: two encoders, a projector and a Qwen2 decoder.  Knows no media."""
