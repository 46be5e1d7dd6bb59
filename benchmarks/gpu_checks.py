"""The first figures of a GPU: what a new length costs, and where the time of a decode step goes.

    python -m benchmarks.gpu_checks --shape vita15 --device cuda --dtype bfloat16 [--parts lengths,step,…]

The parts, all unless some are named:
    lengths    prompts, pictures and clips of sizes that nobody has seen, again, and in a new thread
    prefill    prompts and pictures against the floor of their products, and their kernels one by one
    step       preparing the decode step, taking it, and its kernels one by one
    kernels    each matrix and attention, by Triton kernels and by torch's operations
    quantized  products in 8 and 4 bits, of one row and of a prompt
    repeat     one request three times
Each figure is shown and kept when it is measured; the last line on stdout is JSON.  A part that fails is named, the
next goes on, and the exit code is 1.  Prepared steps and kernels are captured, on a CPU they are called.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import Thread
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.floors import Work, prefill_flop, vision_flop
from benchmarks.machine import Machine, timed
from benchmarks.measuring import describe, host, keep, print_json
from benchmarks.shapes import Shape, shape_options, take_shape
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler
from vita_demo.model.decode.cuda_graph import capture_on
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.gpu_step import triton_serves
from vita_demo.model.language_model import DecoderLayer, LanguageModel
from vita_demo.model.quantize.replace import FORMATS, quantize_in_place

_REPLAYS = 20
_PROMPTS = {"cpu": (101, 102), "cuda": (101, 256, 1400, 3400, 3401)}
_TILES = (1, 5)
_FRAMES = (350, 3000)
_PROFILED_PROMPTS = {"cpu": (256,), "cuda": (256, 3400)}
_PROFILED_TILES = {"cpu": (1,), "cuda": (1, 13)}
# Tokens that are read after a prompt of so many positions, in one pass of the modules.
_FEW_TOKENS, _PROMPT_BEFORE = (1, 4), 300
_CONTEXT = 1024
_CONTEXTS = (256, 1024, 4096, 32000)
_ROWS = 256
_ANSWER = 48


def check_lengths(shape: Shape) -> None:
    """Read sizes that nobody has read, again, and in a new thread, by what answers use."""
    model, device, prompts = shape.build_whole(), shape.device, _PROMPTS[shape.device.type]
    size = model.config.vision.image_size
    keep("preparing the decode step", ms=1e3 * timed(model.prepare, device))
    keep("preparing prompts, pictures and clips", ms=1e3 * timed(model.prepare_inputs, device))
    decoder = model.decoder(max(prompts))

    def measure(name: str, call: Callable[[], object]) -> None:
        first, again = timed(call, device), min(timed(call, device) for _ in range(5))
        thread = _in_a_thread(lambda: timed(call, device))
        keep(name, first_ms=1e3 * first, again_ms=1e3 * again, thread_ms=1e3 * thread)

    for count in prompts:
        measure(f"a prompt of {count}", partial(_prefill, decoder, shape.prompt(count)))
    for count in _TILES:
        tiles = torch.zeros(count, 3, size, size, device=device)
        measure(f"a picture of {count} tiles", partial(model.encode_images, tiles))
    for count in _FRAMES:
        frames = torch.zeros(count, model.config.audio.num_mel_bins)
        measure(f"a clip of {count} frames", partial(model.encode_audio, frames))
    _check_few_tokens(shape, model, "before a profile")


def _prefill(decoder: Decoder, prompt: Tensor) -> None:
    decoder.cache.truncate(0)
    decoder.prefill(prompt)


@torch.inference_mode()
def _check_few_tokens(shape: Shape, model: VitaForGeneration, when: str) -> None:
    """Read a few tokens through the modules, launched one operation after the other."""
    language_model = model.language_model
    cache = language_model.allocate_cache(_PROMPT_BEFORE + max(_FEW_TOKENS))
    language_model(shape.prompt(_PROMPT_BEFORE), cache)
    for count in _FEW_TOKENS:

        def read(tokens: Tensor) -> None:
            cache.truncate(_PROMPT_BEFORE)
            language_model(tokens, cache, last=tokens.shape[1])

        call = partial(read, shape.prompt(count))
        call()
        keep(f"{count} tokens, {when}", ms=1e3 * min(timed(call, shape.device) for _ in range(_REPLAYS)))


def check_prefill(shape: Shape) -> None:
    """Measure prompts and pictures against the floor of their products; on a GPU list their kernels afterwards."""
    model, device = shape.build_whole(), shape.device
    model.prepare()
    model.prepare_inputs()
    machine, kind = Machine.measure(device, shape.dtype), device.type
    decoder, size = model.decoder(max(_PROFILED_PROMPTS[kind])), model.config.vision.image_size
    calls: dict[str, tuple[Callable[[], object], Work]] = {}
    for count in _PROFILED_PROMPTS[kind]:
        work = Work(prefill_flop(shape.config, count), model.language_model.bytes_per_token(0))
        calls[f"a prompt of {count}"] = partial(_prefill, decoder, shape.prompt(count)), work
    for count in _PROFILED_TILES[kind]:
        tiles = torch.zeros(count, 3, size, size, device=device, dtype=shape.dtype)
        calls[f"a picture of {count} tiles"] = (
            partial(model.encode_images, tiles),
            Work(vision_flop(model.config, count), 0),
        )
    for name, (call, work) in calls.items():
        call()
        seconds = min(timed(call, device) for _ in range(_REPLAYS))
        rate, floor_s = work.flop / seconds / 1e12, work.floor_s(machine)
        keep(name, ms=1e3 * seconds, floor_ms=1e3 * floor_s, tflop=work.flop / 1e12, tflop_per_s=rate)
    if kind == "cuda":
        # Afterwards, as a profile may slow down what is launched after it.
        for name, (call, _) in calls.items():
            _list_kernels(name, call, 12)
        _check_few_tokens(shape, model, "after a profile")


def _in_a_thread(call: Callable[[], float]) -> float:
    found: list[float] = []
    thread = Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def check_step(shape: Shape) -> None:
    """Prepare the decode step and take it; on a GPU list its kernels, those with the most time first."""
    model, device = shape.build(), shape.device
    token = torch.ones(1, dtype=torch.long, device=device)
    made: list[Decoder] = []
    with torch.inference_mode():
        cache = model.allocate_cache(4 * _CONTEXT)
        make = lambda: made.append(Decoder(model, cache, capture=capture_on(device)))  # noqa: E731
        keep("preparing the step", ms=1e3 * timed(make, device))
        [decoder] = made
        decoder.prefill(shape.prompt(_CONTEXT))

        def take() -> None:
            decoder.step(token)
            cache.truncate(_CONTEXT)

        step_s = min(timed(take, device) for _ in range(_REPLAYS))
        keep("a step", ms=1e3 * step_s, tb_per_s=model.bytes_per_token(_CONTEXT) / step_s / 1e12)
        if device.type == "cuda":
            _list_kernels("a step", take, 14)


def _list_kernels(name: str, call: Callable[[], object], count: int) -> None:
    """Keep the sum of all kernels of a call, and those with the most time."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.current_stream().synchronize()
    rows = [row for row in found.key_averages() if row.device_type.name == "CUDA"]
    busy_us = sum(row.device_time_total for row in rows)
    keep(f"kernels of {name}", count=sum(row.count for row in rows), busy_us=busy_us)
    for row in sorted(rows, key=lambda row: -row.device_time_total)[:count]:
        keep(row.key[:90], count=row.count, us=row.device_time_total / row.count, total_us=row.device_time_total)


def check_kernels(shape: Shape) -> None:
    """Measure each matrix of all layers, and attention at some lengths of the context."""
    model = shape.build()
    own = triton_serves(shape.device, model.config.head_dim)
    names = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    linears = [_linear(model.layers[0], name) for name in names]
    x = {linear.in_features: _row(shape, linear.in_features) for linear in linears}
    with torch.inference_mode():
        for name, linear in zip(names, linears, strict=True):
            for way, kernels in {"torch": False, "Triton": True}.items():
                if own or not kernels:
                    call = partial(_multiply, name, x, kernels)
                    _keep_rate(shape, f"{name}, {way}", call, model.layers, linear.weight.nbytes)
        for length in _CONTEXTS if own else ():
            _check_attention(shape, model, length)


def _row(shape: Shape, width: int, rows: int = 1) -> Tensor:
    """Return rows of one number each, [rows, width]."""
    return shape.prompt(rows)[0, :, :1].expand(rows, width).contiguous()


def _linear(layer: Any, name: str) -> nn.Linear:
    linear: nn.Linear = layer.get_submodule(name)
    return linear


def _multiply(name: str, x: Mapping[int, Tensor], own: bool, layer: DecoderLayer) -> Tensor:
    """Multiply a row by one of a layer's matrices, by this package's kernel or by torch's operation."""
    weight = _linear(layer, name).weight
    row = x[weight.shape[1]]  # [1, K]
    if not own:
        return F.linear(row, weight)  # [1, N]
    from vita_demo.model.decode import triton_kernels

    return triton_kernels.multiply(row, weight)  # [1, N]


def _check_attention(shape: Shape, model: LanguageModel, length: int) -> None:
    from vita_demo.model.decode.triton_step import TritonStep

    config = model.config
    cache = model.allocate_cache(length + 1)
    cache.keys.zero_()
    cache.values.zero_()
    attend = TritonStep(model, cache).attention(torch.tensor([length], device=shape.device))
    qkv = shape.prompt(1).new_ones(1, config.num_attention_heads + 2 * config.num_key_value_heads, config.head_dim)
    layers = list(zip(cache.keys, cache.values, strict=True))
    size = (cache.keys.nbytes + cache.values.nbytes) // len(layers)
    _keep_rate(shape, f"attention over {length}", lambda layer: attend(qkv, *layer), layers, size)


def _keep_rate(shape: Shape, name: str, call: Callable[[Any], object], layers: Iterable[Any], size: int) -> None:
    """Keep the time that one layer takes, of all one after the other: their weights stay in no cache."""
    layers = list(layers)

    def all_layers() -> None:
        for layer in layers:
            call(layer)

    all_layers()
    capture = capture_on(shape.device)
    replay = all_layers if capture is None else capture(all_layers)

    def replays() -> None:
        for _ in range(_REPLAYS):
            replay()

    seconds = timed(replays, shape.device) / _REPLAYS / len(layers)
    keep(name, mb=size / 1e6, us=1e6 * seconds, tb_per_s=size / seconds / 1e12)


def check_quantized(shape: Shape) -> None:
    """Measure the products of both formats, of one row and of a prompt."""
    for quantize in FORMATS:
        model = shape.build()
        seconds = timed(partial(quantize_in_place, model, quantize), shape.device)
        keep(f"quantizing to {quantize}", ms=1e3 * seconds)
        with torch.inference_mode():
            for name in ("mlp.gate_up_proj", "mlp.down_proj"):
                first: Any = model.layers[0].get_submodule(name)
                size = first.packed.nbytes + first.scales.nbytes
                for rows in (1, _ROWS):
                    x = _row(shape, first.in_features, rows)
                    call = lambda layer, name=name, x=x: layer.get_submodule(name)(x)  # noqa: E731
                    _keep_rate(shape, f"{quantize} {name}, {rows} rows", call, model.layers, size)


def check_repetition(shape: Shape) -> None:
    """Answer one request three times.

    Raises:
        RuntimeError: when it has other tokens each time.
    """
    model, prompt, answers = shape.build(), shape.prompt(_ROWS), []
    with torch.inference_mode():
        decoder = Decoder(model, model.allocate_cache(_CONTEXT), capture=capture_on(shape.device))
    for _ in range(3):
        decoder.cache.truncate(0)
        options = GenerationOptions(max_new_tokens=_ANSWER)
        sampler = make_sampler(options, frozenset(), shape.device)
        answers.append([token.token_id for token in generate_tokens(decoder, prompt, sampler, options)])
    equal = answers[0] == answers[1] == answers[2]
    keep("one request three times", tokens=len(answers[0]), equal=equal)
    if not equal:
        raise RuntimeError("one request gave different tokens")


PARTS = {
    "lengths": check_lengths,
    "prefill": check_prefill,
    "step": check_step,
    "kernels": check_kernels,
    "quantized": check_quantized,
    "repeat": check_repetition,
}


@click.command()
@shape_options
@click.option("--parts", default=",".join(PARTS), show_default=True, help="Which.")
def main(parts: str, **flags: Any) -> None:
    """Measure a GPU's first figures."""
    os.environ.setdefault("FIGURES", os.devnull)
    names, shape, failed = parts.split(","), take_shape(flags), dict[str, str]()
    if set(names) - set(PARTS):
        raise click.UsageError(f"--parts {parts} is not of {', '.join(PARTS)}")
    for name in names:
        try:
            PARTS[name](shape)
        except Exception as error:  # noqa: BLE001 - it is reported, and the benchmark fails in the end
            failed[name] = describe(error)
    print_json({"shape": shape.name, "dtype": str(shape.dtype), "parts": names, "failed": failed, "host": host()})
    if failed:
        raise SystemExit(f"failed: {failed}")


if __name__ == "__main__":
    main()
