"""From logits to tokens to text.  Knows nothing of VITA: it takes anything that can prefill and step."""
