"""An answer as one JSON object, with what only a loaded model knows."""

import os
import platform
from dataclasses import replace
from typing import Any

from vita_demo.answer import Answer
from vita_demo.commands.answer_record import answer_record
from vita_demo.cores import sharing
from vita_demo.engine.device import copy_bandwidth_bytes_per_s
from vita_demo.generation.options import GenerationOptions
from vita_demo.model.ops.cpu_profile import cpu_profile
from vita_demo.model.quantize.replace import count_values
from vita_demo.pipeline import Pipeline


def report(answer: Answer, pipeline: Pipeline, options: GenerationOptions) -> dict[str, Any]:
    """Say what was answered, how fast, by which model and where; the keys are those that docs/scripts.md documents."""
    prompt, stats, model = answer.prompt, answer.stats, pipeline.model
    if stats.passes_tps is not None:
        # Bytes that each pass must read × passes/s ÷ the copy bandwidth measured here and now.
        context = prompt.tokens + len(answer.token_ids) // 2
        rate = model.language_model.bytes_per_token(context) * stats.passes_tps
        stats = replace(stats, bandwidth_fraction=rate / copy_bandwidth_bytes_per_s(model.device))
    engine = "transformers" if options.uses_transformers else "native"
    return answer_record(replace(answer, stats=stats), describe(pipeline, engine))


def introduce(pipeline: Pipeline) -> list[str]:
    """Say in lines which settings and weights answer, where, in what precision and by which arithmetic."""
    model = pipeline.model
    precision = f"{model.quantize} and {model.dtype}" if model.quantize else model.dtype
    weights = f"model {pipeline.settings.folder}, {precision} on {model.device}, in {pipeline.load_s:.2f} s"
    profile = [f"CPU profile of {cpu_profile().describe()}"] if model.device.type == "cpu" else []
    return [*pipeline.settings.config.settings_notes, weights, *profile, *filter(None, [sharing()])]


def describe(pipeline: Pipeline, engine: str = "native") -> dict[str, Any]:
    """Say which weights answer, and where."""
    return {"model": {**describe_model(pipeline), "engine": engine}, "host": describe_host(pipeline)}


def describe_model(pipeline: Pipeline) -> dict[str, Any]:
    """Say which weights answer, in what precision and where."""
    return {
        "path": str(pipeline.settings.folder),
        "parameters": count_values(pipeline.model),
        "dtype": str(pipeline.model.dtype).removeprefix("torch."),
        "quantize": pipeline.model.quantize,
        "device": str(pipeline.model.device),
    }


def describe_host(pipeline: Pipeline) -> dict[str, Any]:
    """Say which machine runs, and with what."""
    import torch

    import vita_demo

    device = pipeline.model.device
    return {
        "platform": platform.platform(),
        "processor": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vita_demo": vita_demo.__version__,
        "cpu_profile": cpu_profile().to_dict(),
    }
