"""Peak memory of loading a checkpoint, against the size of its weights.

    python -m benchmarks.load_memory [--size_gb 1.0] [--dtype float16]

Writes a checkpoint of random float16 weights of that size, loads it in a fresh process, and compares the growth of the
resident set with the bytes of the weights in the target dtype.  The last line is JSON.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

LOAD = """
import json, sys, time, torch, torch.nn
from vita_demo.engine.device import peak_memory_bytes
from vita_demo.model.loading.checkpoint import Checkpoint
from vita_demo.model.vita import VitaModel
from vita_demo.checkpoint.settings import Settings

def resident():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))

settings = Settings.read(sys.argv[1])
checkpoint = Checkpoint.open(settings.folder, settings.config, len(settings.tokenizer))
torch.ones(1000, 1000) @ torch.ones(1000, 1000)
before, start = resident(), time.perf_counter()
model = checkpoint.load(VitaModel, torch.device("cpu"), getattr(torch, sys.argv[2]))
seconds = time.perf_counter() - start
weights = sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
growth = peak_memory_bytes(torch.device("cpu")) - before
print(json.dumps({"weights_bytes": weights, "peak_growth_bytes": growth, "ratio": growth / weights, "load_s": seconds}))
"""


def write_checkpoint(folder: Path, size_bytes: int) -> None:
    """Write the embedded model with a language model wide and deep enough for ``size_bytes`` in float16."""
    import torch

    from tools.save_checkpoint import save_checkpoint
    from vita_demo.checkpoint.settings import Settings
    from vita_demo.model.vita import VitaModel

    settings = Settings.read("embedded")
    shutil.copytree(settings.folder, folder, dirs_exist_ok=True)
    audio = settings.config.audio
    # As wide as the small audio adapter can serve.
    width = 4 * audio.hidden_size
    layer_bytes = 2 * 15 * width**2
    text = replace(
        settings.config.text,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=max(1, size_bytes // layer_bytes),
    )
    config = replace(settings.config, text=text, audio=replace(audio, output_size=width))
    with torch.device("meta"):
        model = VitaModel(config).half()
    save_checkpoint(model.to_empty(device="cpu"), folder)
    values = json.loads((folder / "config.json").read_text())
    values.update(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=text.num_hidden_layers)
    (folder / "config.json").write_text(json.dumps(values))
    train = folder / "audio-encoder" / "train.yaml"
    train.write_text(train.read_text().replace(f"llm_embed_dim: {audio.output_size}", f"llm_embed_dim: {width}"))


def measure(size_bytes: int, dtype: str) -> dict[str, float]:
    """Write a checkpoint, load it in a fresh process, and return what that process measured."""
    with tempfile.TemporaryDirectory() as temporary:
        write_checkpoint(Path(temporary), size_bytes)
        command = [sys.executable, "-c", LOAD, temporary, dtype]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


@click.command()
@click.option("--size_gb", default=1.0, show_default=True, help="Size of the checkpoint in 10⁹ bytes.")
@click.option("--dtype", default="float16", show_default=True, help="What the weights become.")
def main(size_gb: float, dtype: str) -> None:
    """Measure the peak memory of loading."""
    result = measure(int(size_gb * 1e9), dtype)
    print(f"weights {result['weights_bytes'] / 1e9:.2f} GB, peak growth {result['peak_growth_bytes'] / 1e9:.2f} GB")
    print(json.dumps({"dtype": dtype, **result}))


if __name__ == "__main__":
    main()
