"""From logits to tokens to text, for any model that can prefill and step; knows nothing of VITA."""
