"""The wrapper's callbacks change between generations, never during one."""

from typing import Any

import pytest

from vita_demo import GenerationCallback, PerformanceCallback, VITAModelWithCallbacks
from vita_demo.errors import GenerationError, InputError, VitaDemoError


@pytest.fixture
def wrapped(embedded_pipeline) -> VITAModelWithCallbacks:
    return VITAModelWithCallbacks(embedded_pipeline.model, embedded_pipeline.tokenizer)


def test_callbacks_are_added_and_removed_by_instance_or_class(wrapped: VITAModelWithCallbacks) -> None:
    own = GenerationCallback()
    wrapped.add_callback(own)
    wrapped.add_callback(PerformanceCallback)
    wrapped.add_callback(PerformanceCallback())
    assert len(wrapped.callbacks) == 3
    wrapped.remove_callback(PerformanceCallback)
    assert wrapped.callbacks == [own]
    wrapped.remove_callback(own)
    with pytest.raises(InputError, match="GenerationCallback is not there"):
        wrapped.remove_callback(own)


@pytest.mark.parametrize("what", ["add_callback", "remove_callback", "generate"])
def test_changes_during_a_generation_are_refused(wrapped: VITAModelWithCallbacks, what: str) -> None:
    class Meddler(GenerationCallback):
        error: VitaDemoError | None = None

        def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
            try:
                getattr(wrapped, what)(self)
            except VitaDemoError as error:
                self.error = error

    meddler = Meddler()
    wrapped.add_callback(meddler)
    wrapped.generate([1, 2, 3], max_new_tokens=2)
    assert isinstance(meddler.error, GenerationError)
    assert "while a generation runs" in str(meddler.error)
    wrapped.remove_callback(meddler)


def test_an_error_frees_the_wrapper(wrapped: VITAModelWithCallbacks) -> None:
    with pytest.raises(InputError):
        wrapped.generate([1, -200], max_new_tokens=2)
    assert wrapped.generate([1, 2], max_new_tokens=2).shape == (1, 2)
