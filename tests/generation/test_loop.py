"""The native loop with a scripted model: one prefill, then one token a step."""

import pytest
import torch

from tests.generation.fakes import ScriptDecoder
from vita_demo.generation.loop import generate_ids
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler

PROMPT = torch.zeros(1, 7, 4)
GREEDY = make_sampler(GenerationOptions(), frozenset(), torch.device("cpu"))


def test_one_prefill_then_one_token_a_step() -> None:
    decoder = ScriptDecoder([5, 6, 7, 8])
    assert list(generate_ids(decoder, PROMPT, GREEDY, 4)) == [5, 6, 7, 8]
    assert decoder.calls == ["prefill 7", "step", "step", "step"]


def test_nothing_is_computed_ahead_of_the_reader() -> None:
    decoder = ScriptDecoder([5, 6, 7, 8])
    ids = generate_ids(decoder, PROMPT, GREEDY, 4)
    assert decoder.calls == []
    assert next(ids) == 5
    assert decoder.calls == ["prefill 7"]
    ids.close()
    assert decoder.calls == ["prefill 7"]


def test_the_reader_is_not_left_in_inference_mode() -> None:
    ids = generate_ids(ScriptDecoder([5, 6]), PROMPT, GREEDY, 2)
    next(ids)
    assert not torch.is_inference_mode_enabled()
    ids.close()
    assert not torch.is_inference_mode_enabled()


def test_an_error_in_the_model_reaches_the_reader() -> None:
    ids = generate_ids(ScriptDecoder([5, 6, 7], fail_at=2), PROMPT, GREEDY, 3)
    assert [next(ids), next(ids)] == [5, 6]
    with pytest.raises(RuntimeError, match="broke at step 2"):
        next(ids)
