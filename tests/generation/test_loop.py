"""The native loop with a scripted model: one prefill, then one token a step."""

from collections.abc import Iterator

import pytest
import torch

from tests.generation.fakes import ScriptDecoder
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler, sample

PROMPT = torch.zeros(1, 7, 4)
GREEDY = make_sampler(GenerationOptions(), frozenset(), torch.device("cpu"))


def run(decoder: ScriptDecoder, count: int, **options: object) -> Iterator[int]:
    tokens = generate_tokens(decoder, PROMPT, GREEDY, GenerationOptions(max_new_tokens=count, **options))
    return (token.token_id for token in tokens)


def test_one_prefill_then_one_token_a_step() -> None:
    decoder = ScriptDecoder([5, 6, 7, 8])
    assert list(run(decoder, 4)) == [5, 6, 7, 8]
    assert decoder.calls == ["prefill 7", "step", "step", "step"]


def test_nothing_is_computed_ahead_of_the_reader() -> None:
    decoder = ScriptDecoder([5, 6, 7, 8])
    ids = run(decoder, 4)
    assert decoder.calls == []
    assert next(ids) == 5
    assert decoder.calls == ["prefill 7"]
    ids.close()
    assert decoder.calls == ["prefill 7"]


def test_the_reader_is_not_left_in_inference_mode() -> None:
    ids = run(ScriptDecoder([5, 6]), 2)
    next(ids)
    assert not torch.is_inference_mode_enabled()
    ids.close()
    assert not torch.is_inference_mode_enabled()


def test_an_error_in_the_model_reaches_the_reader() -> None:
    ids = run(ScriptDecoder([5, 6, 7], fail_at=2), 3)
    assert [next(ids), next(ids)] == [5, 6]
    with pytest.raises(RuntimeError, match="broke at step 2"):
        next(ids)


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    expected = logits[0].log_softmax(dim=0)
    answer = torch.zeros(1, 2, dtype=torch.long)
    _, sampled = sample(lambda *_: torch.tensor([4]), logits, answer, 1, top_logprobs=3)
    assert answer.tolist() == [[0, 4]]
    assert sampled.token_id == 4
    assert sampled.logprob == pytest.approx(float(expected[4]), abs=1e-5)
    best = expected.argsort(descending=True)[:3].tolist()
    assert [token_id for token_id, _ in sampled.alternatives] == best
    assert [logprob for _, logprob in sampled.alternatives] == pytest.approx(expected[best].tolist(), abs=1e-5)
    assert sample(GREEDY, logits, answer, 1, top_logprobs=0)[1].alternatives == ()
    assert sample(GREEDY, logits, answer, 1, top_logprobs=None)[1].logprob is None
