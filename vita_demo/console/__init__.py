"""What a person reads beside the answer.  The only package that imports rich; it takes records and shows them."""

from vita_demo.console.console import Console

__all__ = ["Console"]
