"""The benchmarks measure what they say, on models small enough for a test."""

import json

import click
import pytest
import torch
from click.testing import CliRunner

from benchmarks import decode, scaling, startup
from benchmarks.decode_ways import Decoded
from benchmarks.measuring import interleave, summarize
from benchmarks.shapes import Shape, explicit_shape, read_shape

SMALL = ("--layers", "1", "--width", "32", "--vocab", "211", "--runs", "2")


def run(command: click.Command, *arguments: str) -> dict:
    result = CliRunner().invoke(command, [*SMALL, *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_decoding_is_compared_on_equal_tokens() -> None:
    found = run(decode.main, "--positions", "5", "--tokens", "12")
    ways = found["tpot_s"]
    assert len(ways) == 4
    assert ways["transformers, streamer"]["speedup"] == 1
    assert all(way["equal_tokens"] == 12 and 0 < way["min"] <= way["median"] <= way["max"] for way in ways.values())
    assert {"processor", "torch", "transformers", "threads"} <= found["host"].keys()


def test_scaling_measures_prompts_and_answers_of_each_length() -> None:
    found = run(scaling.main, "--lengths", "40,24")
    assert [*found["points"]] == ["prompt 24", "answer 24", "prompt 40", "answer 40"]
    assert found["points"]["answer 24"]["equal_tokens"] == 24
    assert [*found["memory_growth_bytes"]] == ["24", "40"]


def test_stages_of_a_start_are_the_gaps_between_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup.time, "time", lambda: 100.0)
    monkeypatch.setattr(startup, "_run", lambda *_: "[100.5, 101.5, 103.0, 103.25, 104.0, 106.0]")
    found = startup.run_stages("embedded", "cpu", 1)
    assert list(found.values()) == [0.5, 1.0, 1.5, 0.25, 0.75, 2.0, 6.0]


def test_ways_run_in_turn_after_a_warm_up() -> None:
    calls = []
    results = interleave({name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}, runs=2)
    assert calls == ["a", "b"] * 3
    assert results == {"a": [3, 5], "b": [4, 6]}


def test_figures_of_one_answer() -> None:
    one = Decoded((1, 2, 3, 4), (1.0, 2.0, 4.0, 7.0))
    assert one.tpot_s == 2
    assert one.tpot_before(3, 1) == 2
    assert one.equal_tokens(Decoded((1, 2, 0, 4), (0.0,) * 4)) == 2
    assert summarize([3.0, 1.0, 2.0])["median"] == 2


def test_weights_are_those_of_the_seed() -> None:
    config = explicit_shape(1, 32, 0, 0, 0, 50)
    shapes = [Shape("small", config, torch.device("cpu"), torch.float32, seed) for seed in (1, 1, 2)]
    first, same, other = (shape.build().layers[0].mlp.down_proj.weight for shape in shapes)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_shapes_by_name_and_by_number() -> None:
    assert read_shape("vita15").hidden_size == 3584
    embedded = explicit_shape(6, 192, 0, 0, 0, 1017)
    assert (embedded.num_attention_heads, embedded.num_key_value_heads, embedded.intermediate_size) == (6, 2, 512)
    with pytest.raises(click.UsageError, match="5 heads"):
        explicit_shape(1, 32, 5, 0, 0, 50)
