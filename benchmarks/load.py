"""How fast a checkpoint of random weights loads, and how much memory that takes, against transformers' reader.

    python -m benchmarks.load [--shape tiny|0.5b|vita15] [--dtype bfloat16] [--device cuda] [--runs 5]

Writes the checkpoint in the released layout into a temporary folder, then loads it in fresh processes, interleaved
after a warm-up, which leaves the files in the system's cache: this package loads the whole model, also quantized where
its shape allows that, transformers the language model in it.  Imports are not counted.  The table goes to stderr: the
bytes of the checkpoint's weights that were read over the median time, the bytes that they take when loaded, the most
memory that loading took, and the most after a prompt of 256 positions was read too.  The last line on stdout is JSON.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.measuring import host, interleave, print_json, print_table, spread, summarize
from benchmarks.shapes import Shape, shape_options, take_shape
from tools.save_checkpoint import save_checkpoint
from vita_demo.checkpoint.config import TextConfig
from vita_demo.errors import VitaDemoError
from vita_demo.model.quantize.replace import weights_bytes

_CHILD = """
import json, sys, time, torch
from pathlib import Path
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.engine.device import current_memory_bytes, peak_memory_bytes, synchronizer
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.loading.checkpoint import Checkpoint
from vita_demo.model.vita import VitaModel

folder, device, dtype = Path(sys.argv[1]), torch.device(sys.argv[2]), getattr(torch, sys.argv[3])
config = VitaConfig.from_pretrained(folder)
{prepare}
torch.ones(99, 99, device=device) @ torch.ones(99, 99, device=device)
on_cpu = device.type == "cpu"
before = current_memory_bytes()[0] if on_cpu else 0
start = time.perf_counter()
model = {load}
synchronizer(device)()
load_s = time.perf_counter() - start
weights = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
found = {{"load_s": load_s, "weights_bytes": weights, "peak_bytes": peak_memory_bytes(device) - before}}
{after}
print(json.dumps(found))
"""
_NATIVE = {
    "load": "Checkpoint.open(folder, config, config.text.vocab_size).load(VitaModel, device, dtype, **options)",
    "after": """
with torch.inference_mode():
    language_model = model.language_model
    decoder = Decoder(language_model, language_model.allocate_cache(260))
    token = torch.ones(256, dtype=torch.long, device=device)
    decoder.prefill(language_model.embed_tokens(token)[None])
    decoder.step(token[:1])
synchronizer(device)()
found["peak_with_prompt_bytes"] = peak_memory_bytes(device) - before
""",
}
_TRANSFORMERS = {
    "prepare": """
from dataclasses import asdict
from importlib.util import find_spec
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging
logging.set_verbosity_error()
logging.disable_progress_bar()
theirs = Qwen2Config(**asdict(config.text))
place = {"device_map": device} if find_spec("accelerate") else {}
""",
    "load": "Qwen2ForCausalLM.from_pretrained(folder, config=theirs, dtype=dtype, **place).to(device)",
    "after": "",
}


def loaders(config: TextConfig) -> tuple[dict[str, str], dict[str, str]]:
    """Return the programs that load, and why others are left out: those of quantized weights, which not all can."""
    options: dict[str, dict[str, str]] = {"native": {}}
    left_out: dict[str, str] = {}
    for quantize in ("int8", "int4"):
        try:
            weights_bytes(config, quantize, 2)
            options[f"native {quantize}"] = {"quantize": quantize}
        except VitaDemoError as error:
            left_out[f"native {quantize}"] = str(error)
    programs = {name: _NATIVE | {"prepare": f"options = {chosen}"} for name, chosen in options.items()}
    programs["transformers"] = _TRANSFORMERS
    return {name: _CHILD.format(**program) for name, program in programs.items()}, left_out


def write_checkpoint(shape: Shape, folder: Path) -> None:
    """Write the shape's random weights and settings in the released layout, without a tokenizer."""
    shutil.copytree(shape.settings_folder(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    train = next(folder.glob("*/train.yaml"))
    # By the released name its settings would be those that ship with the package.
    values = json.loads((folder / "config.json").read_text()) | asdict(shape.config)
    (folder / "config.json").write_text(json.dumps(values | {"mm_audio_encoder": train.parent.name}))
    train.write_text(re.sub(r"(llm_embed_dim:) \d+", rf"\1 {shape.config.hidden_size}", train.read_text()))
    save_checkpoint(shape.build_whole(), folder)


def load(program: str, folder: Path, shape: Shape) -> dict[str, float]:
    """Load in a fresh process; return what it measured.

    Raises:
        click.ClickException: when that process fails.
    """
    dtype = str(shape.dtype).removeprefix("torch.")
    command = [sys.executable, "-c", program, str(folder), str(shape.device), dtype]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise click.ClickException(f"the process that loads ended with exit code {done.returncode}; it says why above")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sum_up(runs: list[dict[str, float]], read_bytes: float) -> dict[str, Any]:
    """Return what the JSON line says of one way to load so many bytes."""
    found: dict[str, Any] = summarize([run["load_s"] for run in runs])
    found |= {key: max(run[key] for run in runs) for key in runs[0] if key != "load_s"}
    return found | {"bytes_per_s": read_bytes / found["median"]}


def report(title: str, ways: Mapping[str, dict[str, Any]]) -> None:
    """Show the table."""
    rows = []
    for name, way in ways.items():
        keys = ("bytes_per_s", "weights_bytes", "peak_bytes", "peak_with_prompt_bytes")
        rows.append((name, *spread(way), *(f"{way[key] / 1e9:.2f}" if key in way else "" for key in keys)))
    columns = ("way", "median", "min – max", "p10", "GB/s", "weights, GB", "peak, GB", "with a prompt, GB")
    print_table(title, columns, rows)


@click.command()
@shape_options
@click.option("--runs", default=5, show_default=True, help="Measured runs of each.")
@click.option(
    "--warm_ups", default=1, show_default=True, help="Runs before; writing leaves the files in the cache too."
)
def main(runs: int, warm_ups: int, **flags: Any) -> None:
    """Measure loading."""
    shape, before = take_shape(flags), host()
    programs, left_out = loaders(shape.config)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        write_checkpoint(shape, folder)
        results = interleave(
            {name: partial(load, text, folder, shape) for name, text in programs.items()}, runs, warm_ups
        )
    whole, language_model = (results[name][0]["weights_bytes"] for name in ("native", "transformers"))
    found = {
        name: sum_up(measured, language_model if name == "transformers" else whole)
        for name, measured in results.items()
    }
    speedup = found["native"]["bytes_per_s"] / found["transformers"]["bytes_per_s"]
    report(f"loading {shape}: ms; native reads {speedup:.2f} × the bytes per second", found)
    if left_out:
        print_table("left out", ("way", "because"), [*left_out.items()])
    settings = {"shape": shape.name, "dtype": str(shape.dtype), "seed": shape.seed, "runs": runs}
    print_json({**settings, "load_s": found, "left_out": left_out, "speedup": speedup, "host": before})


if __name__ == "__main__":
    main()
