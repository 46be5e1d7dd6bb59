"""Several answers at once: tokens a second in all, against one answer alone, transformers' batch and llama.cpp's slots.

    python -m benchmarks.together [--shape tiny|0.5b] [--dtype float32] [--counts 1,2,4,8,16] [--tokens 64] [--runs 5]
    python -m benchmarks.together --layers 28 --width 112 --ways "alone,together,transformers"

All answers of a run are greedy, as long as one another, and have random prompts of different lengths.  "alone" is one
answer by the step for one; "together" that many in slots; "transformers" its ``generate`` of the batch, padded on the
left; "llama.cpp" its server with as many slots, in a process of its own.  All run interleaved after a warm-up; a rate
is that of the 10th percentile of the times from the first prompt to the last token.  The first answer's ids are
compared with those that it has alone.  The table goes to stderr; the last line on stdout is JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks import llama_cpp
from benchmarks.decode import choose
from benchmarks.decode_ways import Subject
from benchmarks.measuring import host, interleave, print_json, print_table, summarize
from benchmarks.shapes import Shape, shape_options, take_shape
from vita_demo.model.decode.cuda_graph import capture_on
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.slots import Slots

# How many positions the prompts differ by.
_DIFFERENCE = 7


@dataclass(frozen=True)
class Run:
    """Several answers.

    Attributes:
        seconds: from the first prompt to the last token.
        ids: of the first answer.
    """

    seconds: float
    ids: tuple[int, ...]

    def equal_tokens(self, other: "Run") -> int:
        """Count the tokens before the first difference."""
        pairs = zip(self.ids, other.ids, strict=False)
        return next((step for step, (ours, theirs) in enumerate(pairs) if ours != theirs), len(self.ids))


@dataclass(frozen=True)
class Task:
    """What is to be answered: as many of the prompts' ids as answers are wanted, with so many tokens each."""

    prompts: Sequence[Tensor]
    tokens: int

    @property
    def positions(self) -> int:
        """What the longest prompt and its answer need."""
        return max(map(len, self.prompts)) + self.tokens


def timed(answer: Callable[[], Sequence[int]]) -> Run:
    """Time some answers; ``answer`` returns the ids of the first."""
    start = perf_counter()
    ids = answer()
    return Run(perf_counter() - start, tuple(ids))


def alone(subject: Subject, task: Task) -> Callable[[], Run]:
    """Make the first answer alone."""
    model = subject.model
    capture = capture_on(model.norm.weight.device)
    decoder = Decoder(model, model.allocate_cache(task.positions), capture=capture)

    @torch.inference_mode()
    def answer() -> list[int]:
        decoder.cache.truncate(0)
        token = decoder.prefill(model.embed_tokens(task.prompts[0])[None]).argmax(1)  # [1]
        ids = [int(token)]
        while len(ids) < task.tokens:
            token = decoder.step(token).argmax(1)
            ids.append(int(token))
        return ids

    return partial(timed, answer)


def together(subject: Subject, task: Task) -> Callable[[], Run]:
    """Make the answers in slots."""
    model, rows = subject.model, range(len(task.prompts))
    slots = Slots(model, len(rows), task.positions, capture_on(model.norm.weight.device))

    @torch.inference_mode()
    def answer() -> list[int]:
        for slot in rows:
            slots.truncate(slot, 0)
        logits = [slots.prefill(slot, model.embed_tokens(task.prompts[slot])[None]) for slot in rows]
        tokens = torch.cat(logits).argmax(1)  # [B]
        ids = [tokens.tolist()]
        while len(ids) < task.tokens:
            tokens = slots.step(rows, tokens).argmax(1)
            ids.append(tokens.tolist())
        return [row[0] for row in ids]

    return partial(timed, answer)


def transformers(subject: Subject, task: Task) -> Callable[[], Run]:
    """Make the answers by one ``generate``, padded on the left."""
    longest = max(map(len, task.prompts))
    ids = torch.stack([torch.cat([prompt.new_zeros(longest - len(prompt)), prompt]) for prompt in task.prompts])
    mask = torch.stack([torch.arange(longest, device=ids.device) >= longest - len(prompt) for prompt in task.prompts])

    @torch.inference_mode()
    def answer() -> list[int]:
        settings = {"max_new_tokens": task.tokens, "do_sample": False, "pad_token_id": 0}
        found = subject.transformers.generate(input_ids=ids, attention_mask=mask.long(), **settings)  # [B, S + tokens]
        return [int(token) for token in found[0, longest:]]

    return partial(timed, answer)


WAYS: Mapping[str, Callable[[Subject, Task], Callable[[], Run]]] = {
    "alone": alone,
    "together": together,
    "transformers": transformers,
}
LLAMA = "llama.cpp"


def llama(stack: ExitStack, path: Path, task: Task) -> Callable[[], Run]:
    """Make the answers in llama.cpp's slots."""
    arguments = path, torch.get_num_threads(), task.positions, len(task.prompts)
    pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), llama_cpp.load, arguments))
    prompts = [prompt.tolist() for prompt in task.prompts]

    def answer() -> tuple[int, ...]:
        return pool.submit(llama_cpp.decode_all, prompts, task.tokens).result()[0].token_ids

    return partial(timed, answer)


def measure(shape: Shape, names: Sequence[str], counts: Sequence[int], task: Task, runs: int) -> dict[str, Any]:
    """Measure each way with each number of answers; "alone" with one only."""
    subject, calls = Subject(shape.build()), dict[tuple[str, int], Callable[[], Run]]()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "model.gguf"
        if LLAMA in names:
            from benchmarks.gguf_file import write_gguf

            write_gguf(subject.model, path, {torch.float32: "F32", torch.bfloat16: "BF16"}[shape.dtype])
        for name in names:
            for count in [1] if name == "alone" else counts:
                part = Task(task.prompts[:count], task.tokens)
                calls[name, count] = llama(stack, path, part) if name == LLAMA else WAYS[name](subject, part)
        results = interleave(calls, runs)
    found: dict[str, Any] = {}
    expected = results[next(iter(results))][0]
    for (name, count), answers in results.items():
        summary = summarize([run.seconds for run in answers])
        rate = {"tokens_per_s": count * task.tokens / summary["p10"]}
        equal = min(run.equal_tokens(expected) for run in answers)
        found.setdefault(name, {})[str(count)] = {"seconds": summary, **rate, "equal_tokens": equal}
    return found


def report(title: str, found: Mapping[str, Any], tokens: int) -> None:
    """Show the rates of all ways by the number of answers, and how many times that of one alone each is."""
    base = next(iter(found["alone"].values()))["tokens_per_s"] if "alone" in found else None
    rows = []
    for name, by_count in found.items():
        for count, way in by_count.items():
            rate = way["tokens_per_s"]
            others = [other[count]["tokens_per_s"] for key, other in found.items() if key != name and count in other]
            times = f"{rate / base:.2f} ×" if base else ""
            ahead = " ".join(f"{rate / other:.2f}" for other in others) if name == "together" else ""
            rows.append((name, count, f"{rate:.1f}", times, ahead, f"{way['equal_tokens']} of {tokens}"))
    others_names = ", ".join(name for name in found if name != "together")
    print_table(title, ("way", "answers", "tokens/s", "of alone", f"× {others_names}", "equal tokens"), rows)


@click.command()
@shape_options
@click.option("--positions", default=64, show_default=True, help="Length of the longest prompt.")
@click.option("--tokens", default=64, show_default=True, help="Length of each answer.")
@click.option("--counts", default="1,2,4,8,16", show_default=True, help="How many answers at once.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
@click.option("--ways", default="alone,together,transformers", show_default=True, help=f"Which; also {LLAMA}.")
def main(positions: int, tokens: int, counts: str, runs: int, ways: str, **flags: Any) -> None:
    """Measure several answers at once."""
    names = choose(ways, {**WAYS, LLAMA: None}, "--ways")
    numbers = [int(count) for count in counts.split(",")]
    shape = take_shape(flags)
    before, generator = host(), torch.Generator().manual_seed(shape.seed)
    lengths = [max(1, positions - _DIFFERENCE * (number % 8)) for number in range(max(numbers))]
    prompts = [torch.randint(shape.config.vocab_size, (length,), generator=generator) for length in lengths]
    task = Task([prompt.to(shape.device) for prompt in prompts], tokens)
    found = measure(shape, names, numbers, task, runs)
    report(f"{shape}, prompts of up to {positions} positions, {tokens} tokens each", found, tokens)
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "positions": positions}
    print_json({**settings, "tokens": tokens, "runs": runs, "host": before, "ways": found})


if __name__ == "__main__":
    main()
