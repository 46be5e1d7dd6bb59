"""Decode speed on a CPU: this package's loop against llama.cpp, on the same random weights in the same formats.

    python -m benchmarks.llama_cpp [--shape tiny|0.5b] [--tokens 256] [--runs 5] [--threads 2]
    pip install '.[llama]'

llama.cpp runs as xllamacpp's wheels bring it, in processes of its own, so that its threads and torch's do not wait for
one another, and counts its own time.  Ours is timed with three callbacks, at each token's event.  In 32 bits the token
ids are compared, though llama.cpp's cache is float16 by default and they may part; 8 and 4 bits are rounded otherwise
by both.  The table goes to stderr; the last line on stdout is JSON.
"""

import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch

from benchmarks import native_ways
from benchmarks.decode_ways import Call, Decoded, Maker, Subject, make_ways
from benchmarks.measuring import host, interleave, print_json, print_table, spread, summarize
from benchmarks.shapes import Shape, shape_options, take_shape
from benchmarks.watchers import CALLBACKS

# Ours beside its format of as many bits.
PAIRS = {"float32": "F32", "int8": "Q8_0", "int4": "Q4_0"}
OURS: dict[str, Maker] = {
    "float32": native_ways.eager,
    "int8": partial(native_ways.quantized, quantize="int8"),
    "int4": partial(native_ways.quantized, quantize="int4"),
}


_server: list[Any] = []


def load(path: Path, threads: int, positions: int, slots: int = 1) -> None:
    """Start the server in this process, with some slots of so many positions."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.n_gpu_layers, settings.verbosity = positions * slots, slots, 0, -1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    _server.append(xllamacpp.Server(settings))


def _decode(prompt_ids: list[int], tokens: int) -> Decoded:
    """Answer greedily; the times of tokens are spread evenly over what llama.cpp counts."""
    request = {"prompt": prompt_ids, "n_predict": tokens, "temperature": 0, "ignore_eos": True}
    answer = _server[0].handle_completions(request | {"cache_prompt": False})
    times, text = answer["timings"], answer["choices"][0]["text"]
    seconds = times["predicted_per_token_ms"] / 1e3
    ids = tuple(int(number) for number in re.findall(r"<(\d+)>", text))
    return Decoded(ids, tuple(times["prompt_ms"] / 1e3 + seconds * step for step in range(len(ids))))


def decode_all(prompts: list[list[int]], tokens: int) -> list[Decoded]:
    """Answer several prompts at once, each in a slot."""
    with ThreadPoolExecutor(len(prompts)) as askers:
        return [*askers.map(partial(_decode, tokens=tokens), prompts)]


def _ask(pool: ProcessPoolExecutor, prompt_ids: list[int], tokens: int) -> Decoded:
    return pool.submit(_decode, prompt_ids, tokens).result()


def measure(shape: Shape, positions: int, tokens: int, runs: int) -> dict[str, Any]:
    """Measure in turn ours and theirs in each format that ours can take."""
    from benchmarks.gguf_file import write_gguf

    model = shape.build()
    ids = torch.randint(shape.config.vocab_size, (positions,), generator=torch.Generator().manual_seed(shape.seed))
    prompt, watched = model.embed_tokens(ids)[None], CALLBACKS["three"][1]  # [1, S, D]
    ours, missing = make_ways(Subject(model), OURS)
    calls: dict[str, Callable[[], Decoded]] = {name: Call(way, prompt, tokens, watched) for name, way in ours.items()}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for name in ours:
            path = Path(folder) / f"{PAIRS[name]}.gguf"
            write_gguf(model, path, PAIRS[name])
            arguments = path, torch.get_num_threads(), positions + tokens
            pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), load, arguments))
            calls[f"llama.cpp {PAIRS[name]}"] = partial(_ask, pool, ids.tolist(), tokens)
        results = interleave(calls, runs)
    ways: dict[str, Any] = {name: summarize([run.tpot_s for run in found]) for name, found in results.items()}
    for name in ours:
        ways[name]["speedup"] = ways[f"llama.cpp {PAIRS[name]}"]["p10"] / ways[name]["p10"]
    equal = results["float32"][0].equal_tokens(results["llama.cpp F32"][0])
    return {"tpot_s": ways, "equal_tokens": equal, **asdict(missing)}


@click.command()
@shape_options
@click.option("--positions", default=64, show_default=True, help="Length of the prompt.")
@click.option("--tokens", default=256, show_default=True, help="Length of the answer.")
@click.option("--runs", default=5, show_default=True, help="Measured runs of each way.")
def main(positions: int, tokens: int, runs: int, **flags: Any) -> None:
    """Measure decoding against llama.cpp."""
    shape = take_shape(flags)
    if shape.device.type != "cpu" or shape.dtype != torch.float32:
        raise click.UsageError("llama.cpp is compared on the CPU, from float32 weights")
    try:
        import gguf  # noqa: F401
        import xllamacpp
    except ImportError as error:
        raise SystemExit(f"error: {error}; pip install '.[llama]'") from error
    before = host(xllamacpp=xllamacpp.__version__, llama_cpp=xllamacpp.get_system_info())
    found = measure(shape, positions, tokens, runs)
    rows = [
        (name, *spread(way), f"{way['speedup']:.2f} ×" if "speedup" in way else "")
        for name, way in found["tpot_s"].items()
    ]
    columns = ("way", "median", "min – max", "p10", "faster than llama.cpp")
    print_table(f"{shape}, {positions} positions: ms a token", columns, rows)
    settings = {"shape": shape.name, "seed": shape.seed, "positions": positions, "tokens": tokens, "runs": runs}
    print_json({**settings, "host": before, **found})


if __name__ == "__main__":
    main()
