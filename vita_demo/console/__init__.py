"""Terminal widgets on rich and prompt_toolkit, which know no command; all but tables go to stderr."""

from vita_demo.console.console import Console

__all__ = ["Console"]
