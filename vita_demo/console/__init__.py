"""What a person reads beside the answer: widgets on rich and prompt_toolkit that know no command."""

from vita_demo.console.console import Console

__all__ = ["Console"]
