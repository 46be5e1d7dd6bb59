"""A model that remembers its callbacks."""

from typing import Any

from torch import Tensor

from vita_demo.api import generate_with_callbacks
from vita_demo.errors import GenerationError, InputError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.model.vita import VitaModel


class VITAModelWithCallbacks:
    """Wraps a model and its tokenizer; every generation calls the callbacks that were added.

    Attributes:
        callbacks: in the order in which they are called.
    """

    def __init__(self, model: VitaModel, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.callbacks: list[GenerationCallback] = []
        self._generating = False

    def add_callback(self, callback: GenerationCallback | type[GenerationCallback]) -> None:
        """Add a callback, or an instance of a callback class.

        Raises:
            GenerationError: while a generation runs.
        """
        self._refuse_while_generating("add")
        self.callbacks.append(callback() if isinstance(callback, type) else callback)

    def remove_callback(self, callback: GenerationCallback | type[GenerationCallback]) -> None:
        """Remove a callback, or all of a class.

        Raises:
            InputError: when it is not there.
            GenerationError: while a generation runs.
        """
        self._refuse_while_generating("remove")
        kept = [
            each
            for each in self.callbacks
            if not (isinstance(each, callback) if isinstance(callback, type) else each is callback)
        ]
        if len(kept) == len(self.callbacks):
            name = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            raise InputError(f"callback {name} is not there to be removed; add_callback adds one")
        self.callbacks = kept

    def generate(self, input_ids: Any, images: Any = None, audios: Any = None, **arguments: Any) -> Tensor:
        """Generate with all callbacks; see ``generate_with_callbacks``.

        Raises:
            GenerationError: while another generation of this wrapper runs.
        """
        self._refuse_while_generating("generate")
        self._generating = True
        try:
            return generate_with_callbacks(
                self.model, self.tokenizer, input_ids, images, audios, self.callbacks, **arguments
            )
        finally:
            self._generating = False

    def _refuse_while_generating(self, what: str) -> None:
        if self._generating:
            raise GenerationError(f"cannot {what} while a generation runs; wait for its end")
