"""--compile: where it serves, and how the time that it takes is told."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from vita_demo.answer import Answer
from vita_demo.checkpoint.source import ModelSource
from vita_demo.console.run_panel import render, summary_lines
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import RunRecorder
from vita_demo.model.decode import torch_step
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request


def test_the_flag_and_the_preset_reach_the_loading(vita, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, load = [], Pipeline.of

    def note(source: ModelSource, *others):
        asked.append(source.compiled)
        return load(replace(source, compiled=False), *others)

    monkeypatch.setattr(Pipeline, "of", note)
    preset = tmp_path / "mine.toml"
    preset.write_text("compile = true\n")
    request = ("--question", "hi", "--device", "cpu", "--max_new_tokens", 1)
    assert [vita(*request, *more).code for more in (("--compile",), ("--config", preset), ())] == [0, 0, 0]
    assert asked == [True, True, False]


def test_on_the_cpu_it_is_left_out_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline = Pipeline.load(device="cpu", compiled=True)
    assert not pipeline.model.compiled
    assert pipeline.compile_s == 0
    [record] = caplog.records
    assert record.getMessage().startswith("--compile is left out on the CPU")


def test_preparing_counts_in_the_generation_that_needed_it(
    tiny7_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that changes nothing, so that it takes no minute."""
    monkeypatch.setattr(torch_step, "fused", lambda function: function)
    monkeypatch.setattr(tiny7_pipeline.model, "compiled", True)
    monkeypatch.setattr(tiny7_pipeline.model, "_spare", [])
    options = GenerationOptions(max_new_tokens=3)
    first, second = (tiny7_pipeline.generate(Request(question="hi"), options).stats.stages for _ in range(2))
    assert first["compile"] > 0
    assert "compile" not in second


def test_what_compiling_took_stands_beside_the_loading(embedded_pipeline) -> None:
    compiled = Pipeline(embedded_pipeline.model, embedded_pipeline.settings, load_s=1.0, compile_s=21.5)
    answer = compiled.generate(Request(question="hi"), GenerationOptions(max_new_tokens=2))
    assert answer.stats.stages["compile"] == 21.5
    assert "compile" not in embedded_pipeline.generate(Request(question="hi")).stats.stages


def test_preparations_of_the_first_steps_are_told_in_line_and_panel() -> None:
    recorder = RunRecorder(prepared_s=lambda: {"capture": 0.25, "compile": 2.0})
    recorder.add_stage("compile", 19.5)
    stats = recorder.finish(4, recorder.clock())
    assert stats.stages == {"compile": 21.5, "capture": 0.25}
    answer = Answer("", (), "length", stats=stats)
    assert "compile 21.50 s · capture 0.25 s" in summary_lines(answer)[0]
    from rich.console import Console

    with (console := Console(width=80)).capture() as drawn:
        console.print(render(answer, 80))
    assert "compile 21.50 s · capture 0.25 s" in drawn.get()
