"""This package's loop, in each of the ways in which this machine can run it."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.decode_ways import Decoded, LeftOutError, Maker, Subject, Way, decoded
from benchmarks.machine import timed
from benchmarks.watchers import Letters
from vita_demo.answer import PromptSummary
from vita_demo.errors import VitaDemoError
from vita_demo.generation.callbacks import Answering, CallbackList, GenerationCallback, Watch
from vita_demo.generation.events import Event, EventMaker
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder
from vita_demo.model.decode.cuda_graph import Capture, capture_on
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize.replace import quantize_in_place

MakeDecoder = Callable[[int], Decoder]
"""Makes a decoder for so many positions."""


def eager(subject: Subject) -> Way:
    """One operation after the other."""
    return _way(subject.model, kind="slow")


def graph(subject: Subject) -> Way:
    """Steps that were captured as CUDA graphs."""
    return _way(subject.model, capture=_require_capture(subject))


def operations(subject: Subject) -> Way:
    """Captured steps of torch's operations alone, without this package's kernels."""
    return _way(subject.model, capture=_require_capture(subject), kernels=False)


def quantized(subject: Subject, quantize: str) -> Way:
    """A copy of the weights in few bits."""
    # Modules are copied, tensors are not.
    model = deepcopy(subject.model, {id(parameter): parameter for parameter in subject.model.parameters()})
    try:
        quantize_in_place(model, quantize)
    except VitaDemoError as error:
        raise LeftOutError(str(error)) from error
    return _way(model, exact=False, capture=capture_on(model.norm.weight.device))


def steps(subject: Subject) -> Way:
    """Forward steps alone: no token is chosen, read back or shown."""
    make = _keep(subject.model, capture=capture_on(subject.model.norm.weight.device))
    return Way(lambda prompt, tokens, _: _steps(make, prompt, tokens), subject.model.bytes_per_token, "bare", False)


def matrices(subject: Subject) -> Way:
    """Every matrix once, times one row: nothing else of a step."""
    model = subject.model
    linears = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    weights_bytes = model.bytes_per_token(0)
    return Way(lambda prompt, tokens, _: _matrices(linears, prompt, tokens), lambda _: weights_bytes, "bare", False)


def _require_capture(subject: Subject) -> Capture:
    capture = capture_on(subject.model.norm.weight.device)
    if capture is None:
        raise LeftOutError("it is for CUDA devices only")
    return capture


def _keep(model: LanguageModel, **options: Any) -> MakeDecoder:
    """Return what makes a decoder once for each capacity: what it captures goes with its cache."""

    @cache
    def make(capacity: int) -> Decoder:
        with torch.inference_mode():
            return Decoder(model, model.allocate_cache(capacity), **options)

    return make


def _way(model: LanguageModel, kind: str = "fast", exact: bool = True, **options: Any) -> Way:
    return Way(partial(_answer, _keep(model, **options)), model.bytes_per_token, kind, exact)


def _answer(make: MakeDecoder, prompt: Tensor, tokens: int, callbacks: Sequence[GenerationCallback]) -> Decoded:
    decoder = make(prompt.shape[1] + tokens)
    decoder.cache.truncate(0)
    options, start = GenerationOptions(max_new_tokens=tokens), time.perf_counter()
    watch = Watch(CallbackList(callbacks), StopSignal(), RunRecorder(), PromptSummary(prompt.shape[1]))
    sampled = generate_tokens(decoder, prompt, make_sampler(options, frozenset(), prompt.device), options)
    seen: list[Event] = []
    with watch.hooks([]):
        answering = Answering(EventMaker(Letters(), options), watch)
        for token in sampled:
            seen.append(answering.push(token))
            if answering.reason is not None:
                break
        answering.end()
    return decoded(start, [event.time_s for event in seen], [event.token_id or 0 for event in seen])


def _steps(make: MakeDecoder, prompt: Tensor, tokens: int) -> Decoded:
    decoder, token = make(prompt.shape[1] + tokens), torch.ones(1, dtype=torch.long, device=prompt.device)
    decoder.cache.truncate(0)
    decoder.prefill(prompt)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(tokens):
                decoder.step(token)

    return _even(timed(run, prompt.device), tokens)


def _matrices(weights: Sequence[Tensor], prompt: Tensor, tokens: int) -> Decoded:
    rows = {weight.shape[1]: prompt.new_ones(1, weight.shape[1]) for weight in weights}

    def run() -> None:
        with torch.inference_mode():
            for _ in range(tokens):
                for weight in weights:
                    F.linear(rows[weight.shape[1]], weight)

    return _even(timed(run, prompt.device), tokens)


def _even(seconds: float, tokens: int) -> Decoded:
    """Spread the time of all steps evenly over them."""
    return Decoded((), tuple(seconds * step / tokens for step in range(tokens + 1)))


WAYS: Mapping[str, Maker] = {
    "native eager": eager,
    "native graph": graph,
    "native operations": operations,
    "native int8": partial(quantized, quantize="int8"),
    "native int4": partial(quantized, quantize="int4"),
    "steps alone": steps,
    "matrices alone": matrices,
}

FAST = ("native graph", "native eager")
"""The fastest first, of those that keep the weights as they are."""
