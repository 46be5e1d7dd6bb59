"""A model and a tokenizer so simple that every answer is known, and who watches and reads them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vita_demo.answer import PromptSummary
from vita_demo.generation.callbacks import CallbackList, GenerationCallback, GenerationControl, Watch
from vita_demo.generation.events import Event, EventMaker, Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder


class ByteTokenizer:
    """Ids are bytes; 0 stops, 1 is a state token."""

    stop_ids = frozenset({0})
    states: Mapping[int, str] = {1: "speech"}

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        kept = [token_id for token_id in token_ids if token_id > 1 or not skip_special_tokens]
        return bytes(kept).decode("utf-8", errors="replace")


class ScriptDecoder:
    """Gives the likeliest next token out of a script, and checks what it is fed."""

    runs_ahead = False

    def __init__(self, script: Iterable[int], vocab_size: int = 256, fail_at: int | None = None) -> None:
        self.script = list(script)
        self.vocab_size = vocab_size
        self.fail_at = fail_at
        self.calls: list[str] = []

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        self.calls.append(f"prefill {inputs_embeds.shape[1]}")
        return self.logits()

    def step(self, token_id: Tensor) -> Tensor:
        assert token_id.shape == (1,), "one token a step, never the whole sequence"
        assert int(token_id) == self.script[len(self.calls) - 1]
        self.calls.append("step")
        return self.logits()

    def logits(self) -> Tensor:
        position = len(self.calls) - 1
        if position == self.fail_at:
            raise RuntimeError(f"the model broke at step {position}")
        logits = torch.zeros(1, self.vocab_size)
        logits[0, self.script[position]] = 1.0
        return logits


class ChainDecoder:
    """Gives random logits that depend on the last ``memory`` tokens: with few of them the answer runs in circles."""

    runs_ahead = False

    def __init__(self, memory: int, vocab_size: int = 6, seed: int = 0) -> None:
        self.memory, self.vocab_size, self.seed = memory, vocab_size, seed
        self.committed: list[int] = []
        self.passes = 0
        self._rest: list[int] = []

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        self.passes += 1
        return self._logits(self.committed)

    def step(self, token_id: Tensor) -> Tensor:
        return self.verify(token_id)

    def verify(self, token_ids: Tensor) -> Tensor:
        self.passes += 1
        first, *self._rest = token_ids.tolist()
        self.committed = [*self.committed, first]
        return torch.cat([self._logits([*self.committed, *self._rest[:count]]) for count in range(len(token_ids))])

    def commit(self) -> None:
        self.committed = [*self.committed, self._rest.pop(0)]

    def _logits(self, ids: Sequence[int]) -> Tensor:
        context = [*ids[-self.memory :], self.seed]
        number = sum(token_id * 1009**place for place, token_id in enumerate(context)) % 2**40
        return torch.randn(1, self.vocab_size, generator=torch.Generator().manual_seed(number))


def stream_events(tokens: Iterable[Sampled], *arguments: Any, **options: Any) -> Iterator[Event]:
    """The events of ``tokens`` until one ends the answer; see ``EventMaker`` for the other arguments."""
    maker = EventMaker(*arguments, **options)
    for token in tokens:
        yield maker.push(token)
        if maker.reason is not None:
            break
    yield maker.end()


def watched(
    tokens: Iterable[Sampled],
    options: GenerationOptions,
    callbacks: Sequence[GenerationCallback] = (),
    *,
    signal: StopSignal | None = None,
    recorder: RunRecorder | None = None,
    input_ids: Sequence[int] = (),
    positions: int = 5,
    **rules: Any,
) -> Iterator[Event]:
    """The events of ``tokens`` as a generation yields them, without a model."""
    signal, recorder = signal or StopSignal(), recorder or RunRecorder()
    called = CallbackList(callbacks, max_new_tokens=options.max_new_tokens, **rules)
    watch = Watch(called, signal, recorder, PromptSummary(positions))
    with watch.hooks(input_ids):
        for event in stream_events(tokens, ByteTokenizer(), options, signal, recorder.clock):
            yield watch.see(event)


def pushed(make: Callable[[StopSignal], Iterable[Any]]) -> Callable[[StopSignal, Callable[[Any], object]], None]:
    """What a thread runs to hand on the items of an iterable that is made there."""

    def run(signal: StopSignal, emit: Callable[[Any], object]) -> None:
        for item in make(signal):
            emit(item)

    return run


class LateSlot:
    """Holds a token until it is received, perhaps after a while; a token that nobody received must not be lost."""

    def __init__(self) -> None:
        self.token: Tensor | None = None

    def send(self, token: Tensor) -> None:
        assert self.token is None, "overwritten before it was read"
        self.token = token.clone()

    def receive(self) -> int:
        assert self.token is not None, "received before it was sent"
        token, self.token = self.token, None
        return int(token)


class Spy(GenerationCallback):
    """Notes every call; raises or answers where told to."""

    def __init__(self, fail_in: str = "", control: GenerationControl | None = None, at: int = 2) -> None:
        self.calls: list[str] = []
        self.fail_in = fail_in
        self.control = control
        self.at = at
        self.text = ""

    def note(self, hook: str, what: object = "") -> None:
        self.calls.append(f"{hook} {what}".strip())
        if hook == self.fail_in:
            raise ValueError("on purpose")

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        self.note("on_generation_start")

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> GenerationControl | None:
        self.text += token_text
        self.note("on_token_generated", step)
        return self.control if step == self.at else None

    def on_generation_error(self, error: BaseException, **kwargs: Any) -> None:
        self.note("on_generation_error", error)

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        self.note("on_generation_end", kwargs["finish_reason"])
