"""The benchmarks measure what they say, on models small enough for a test."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from benchmarks import batch, decode, gpu_checks, llama_cpp, load, machine, scaling, stages, startup, together
from benchmarks.decode_ways import Call, Decoded, LeftOutError, Missing, Subject, Way, make_ways
from benchmarks.floors import Work, audio_flop, prefill_flop, row_floors_s, step_work, vision_flop
from benchmarks.machine import Machine
from benchmarks.measuring import first_calls, interleave, summarize
from benchmarks.shapes import Shape, explicit_shape
from tests.conftest import ROOT
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.shapes import read_shape
from vita_demo.model.vita import VitaModel
from vita_demo.resources import resource

SMALL = ("--layers", "1", "--width", "32", "--vocab", "211", "--runs", "2")
CPU = torch.device("cpu")
MACHINE = Machine(copy_bytes_per_s=10.0, read_bytes_per_s=20.0, matmul_flop_per_s=100.0)


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine._BYTES, "cpu", 1 << 20)
    monkeypatch.setitem(machine._SIDE, "cpu", 64)


def small(**changes) -> Shape:
    return replace(Shape("small", explicit_shape(1, 32, 0, 0, 0, 50), CPU, torch.float32), **changes)


def run(command: click.Command, *arguments: str) -> dict:
    result = CliRunner().invoke(command, [*SMALL, *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_decoding_is_compared_on_equal_tokens() -> None:
    found = run(decode.main, "--positions", "5", "--tokens", "12", "--slow_tokens", "7")
    ways = found["tpot_s"]
    assert {"native eager", "native eager, 3 callbacks", "steps alone", "transformers static"} <= ways.keys()
    assert ways["transformers"]["speedup"] == 1
    assert all(0 < way["min"] <= way["median"] <= way["max"] and way["bandwidth_fraction"] > 0 for way in ways.values())
    assert {way["equal_tokens"] for name, way in ways.items() if "equal_tokens" in way} == {7}
    assert "CUDA" in found["left_out"]["transformers static compiled"]
    assert {"processor", "torch", "transformers", "threads"} <= found["host"].keys()


def test_decoding_takes_the_ways_and_callbacks_that_are_named() -> None:
    found = run(decode.main, "--tokens", "4", "--ways", "native eager,steps alone", "--callbacks", "slow")
    assert [*found["tpot_s"]] == ["native eager, a 1 ms callback", "steps alone"]
    result = CliRunner().invoke(decode.main, [*SMALL, "--ways", "native magic"])
    assert result.exit_code == 2
    assert "native magic is not one of" in result.output


def test_other_tokens_in_float32_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    other = lambda prompt, tokens, _: Decoded((1,) * tokens, tuple(range(tokens)))  # noqa: E731
    monkeypatch.setitem(decode.WAYS, "native eager", lambda subject: Way(other, lambda _: 1))
    result = CliRunner().invoke(decode.main, [*SMALL, "--tokens", "9", "--ways", "transformers,native eager"])
    assert "different tokens" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize("names", [("a", "transformers"), ("a", "transformers, 3 callbacks"), ("transformers", "a")])
def test_speeds_are_counted_from_transformers_where_it_runs(names: tuple[str, ...]) -> None:
    assert decode.choose_baseline(["transformers static", *names]).split(",")[0] == "transformers"
    assert decode.choose_baseline(["a", "transformers static"]) == "a"


def test_a_way_that_is_not_there_is_left_out_with_its_reason() -> None:
    def missing(subject: Subject) -> Way:
        raise LeftOutError("not today")

    def broken(subject: Subject) -> Way:
        raise RuntimeError("no such kernel\nat line 1")

    there = Way(lambda *_: Decoded((), ()), lambda _: 1)
    found, others = make_ways(Subject(small().build()), {"a": missing, "b": lambda _: there, "c": broken})
    assert found == {"b": there}
    assert others == Missing({"a": "not today"}, {"c": "RuntimeError: no such kernel"})


def test_the_others_are_measured_when_a_way_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_) -> Decoded:
        raise AttributeError("no weight")

    monkeypatch.setitem(decode.WAYS, "native eager", lambda subject: Way(fail, lambda _: 1))
    ways = "native eager,steps alone"
    result = CliRunner().invoke(decode.main, [*SMALL, "--tokens", "4", "--ways", ways, "--callbacks", "none"])
    assert result.exit_code == 1
    found = next(json.loads(line) for line in result.stdout.splitlines() if line.startswith("{"))
    assert [*found["tpot_s"]] == ["steps alone"]
    assert found["failed"] == {"native eager": "AttributeError: no weight"}
    with pytest.raises(AttributeError):
        first_calls({"a": fail})


def test_the_share_of_the_bandwidth_counts_bytes_over_the_median_time() -> None:
    way = Way(lambda *_: Decoded((), ()), lambda context: 3 * context)
    call = Call(way, torch.empty(1, 8, 4), 4, list)
    found = decode.sum_up({"a": call}, {"a": [Decoded((), (0.0, 6.0))]}, MACHINE)
    assert found["a"]["bandwidth_fraction"] == pytest.approx(3 * 10 / 6 / 10)


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict]]:
    """The figures that were kept."""
    monkeypatch.setenv("FIGURES", str(tmp_path / "figures.jsonl"))
    return lambda: [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]


def check_gpu(*arguments: str) -> Result:
    shape = ("--layers", "1", "--width", "192", "--vocab", "64")
    return CliRunner().invoke(gpu_checks.main, [*shape, *arguments])


@pytest.mark.slow
def test_first_figures_of_a_gpu_are_kept_one_by_one(figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_checks, "triton_serves", lambda *_: False)
    monkeypatch.setattr(gpu_checks, "_ANSWER", 5)
    done = check_gpu()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["failed"] == {}
    names = [figure["figure"] for figure in figures()]
    assert {"a prompt of 102", "a picture of 1 tiles", "4 tokens, before a profile", "a prompt of 256",
            "preparing the step", "a step", "mlp.down_proj, torch",
            "int4 mlp.down_proj, 256 rows"} < set(names)  # fmt: skip
    assert figures()[-1] == {"figure": "one request three times", "tokens": 5, "equal": True}


def test_a_part_that_fails_stops_no_other(figures, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_shape: Shape) -> None:
        raise RuntimeError("no kernel image\nfor this device")

    monkeypatch.setitem(gpu_checks.PARTS, "step", fail)
    monkeypatch.setattr(gpu_checks, "_ANSWER", 3)
    done = check_gpu("--parts", "step,repeat")
    assert done.exit_code == 1
    assert "'step': 'RuntimeError: no kernel image'" in done.output
    assert [figure["figure"] for figure in figures()] == ["one request three times"]
    assert "is not of lengths, prefill, step" in check_gpu("--parts", "nothing").output


def test_runs_are_kept_while_others_are_still_to_come(figures) -> None:
    def fail() -> float:
        raise RuntimeError("out of time")

    with pytest.raises(RuntimeError):
        interleave({"a": lambda: 0.25, "b": fail}, runs=1, warm_ups=0, seconds=float)
    assert figures() == [{"figure": "a", "ms": 250.0}]


@pytest.mark.slow
def test_answers_together_are_those_alone() -> None:
    found = run(together.main, "--positions", "9", "--tokens", "12", "--counts", "1,3")["ways"]
    assert {name: [*counts] for name, counts in found.items()} == {
        "alone": ["1"],
        "together": ["1", "3"],
        "transformers": ["1", "3"],
    }
    assert all(
        way["equal_tokens"] == 12 and way["tokens_per_s"] > 0 for ways in found.values() for way in ways.values()
    )


def test_scaling_measures_prompts_and_answers_of_each_length() -> None:
    found = run(scaling.main, "--lengths", "40,24")
    assert [*found["points"]] == ["prompt 24", "answer 24", "prompt 40", "answer 40"]
    assert found["points"]["answer 24"]["equal_tokens"] == 24
    assert [*found["points"]["prompt 24"]["tpot_s"]] == ["native eager", "transformers"]
    assert [*found["memory_growth_bytes"]] == ["24", "40"]


def test_scaling_takes_the_kinds_and_ways_that_are_named() -> None:
    found = run(scaling.main, "--lengths", "24", "--kinds", "answer", "--ways", "native eager")
    assert [*found["points"]] == ["answer 24"]
    assert [*found["points"]["answer 24"]["tpot_s"]] == ["native eager"]


def test_stages_are_measured_against_their_floors() -> None:
    found = run(stages.main, "--positions", "9,5", "--frames", "2", "--seconds", "0.5", "--tiles", "2")
    ways = found["stages_s"]
    assert [*ways][:3] == ["vision, 2 tiles", "audio, 0.5 s", "prefill, 9 positions"]
    assert [name.split(",")[1] for name in ways if "first token" in name] == [
        " text", " picture of 2 tiles", " video of 2 frames", " speech of 0.5 s"
    ]  # fmt: skip
    assert all(way["floor_s"] > 0 and way["min"] > 0 and way["first_s"] > 0 for way in ways.values())
    assert ways["prefill, 9 positions"]["equal_token"]
    assert ways["prefill, 9 positions"]["logits_deviation"] < 1e-5
    picture = small().whole_config().vision.positions_per_tile * 2
    assert ways["first token, picture of 2 tiles"]["positions"] == picture + 72


def test_stages_of_one_kind_alone() -> None:
    found = run(stages.main, "--stages", "prefill", "--positions", "4", "--dtype", "bfloat16")
    assert [*found["stages_s"]] == ["prefill, 4 positions", "prefill, 4 positions, transformers"]


@pytest.mark.parametrize("kind", ["vision", "audio", "prefill"])
def test_floors_count_what_torch_counts(kind: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    shape = small()
    model = shape.build_whole()
    config, size = model.config, model.config.vision.image_size
    calls = {
        "vision": lambda: model.encode_images(torch.zeros(2, 3, size, size)),
        "audio": lambda: model.encode_audio(torch.zeros(99, 80)),
        "prefill": lambda: model.decoder(17).prefill(shape.prompt(17)),
    }
    expected = {
        "vision": vision_flop(config, 2),
        "audio": audio_flop(config.audio, 99),
        # torch computes the masked half of the attention too.
        "prefill": prefill_flop(config.text, 17) + 2 * 17 * 16 * config.text.hidden_size,
    }
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        calls[kind]()
    assert counter.get_total_flops() == expected[kind]


def test_a_floor_is_the_slower_of_arithmetic_and_reading() -> None:
    assert Work(flop=300, read_bytes=20).floor_s(MACHINE) == 3
    assert Work(flop=300, read_bytes=80).floor_s(MACHINE) == 4


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
    assert one.equal_tokens(Decoded((1, 2), (0.0,) * 2)) == 2
    assert summarize([3.0, 1.0, 2.0])["median"] == 2


def test_weights_are_those_of_the_seed() -> None:
    first, same, other = (small(seed=seed).build().layers[0].mlp.down_proj.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_whole_model_has_finite_features_in_the_width_of_the_shape() -> None:
    model = small(dtype=torch.bfloat16).build_whole()
    assert model.audio_encoder.cmvn.mean.dtype == torch.float32
    assert model.encode_audio(torch.ones(50, 80)).isfinite().all()
    assert model.encode_images(torch.ones(1, 3, 128, 128)).shape == (1, 16, 32)


def test_shapes_by_name_and_by_number() -> None:
    assert read_shape("vita15").hidden_size == 3584
    embedded = explicit_shape(6, 192, 0, 0, 0, 1017)
    assert (embedded.num_attention_heads, embedded.num_key_value_heads, embedded.intermediate_size) == (6, 2, 512)
    with pytest.raises(click.UsageError, match="5 heads"):
        explicit_shape(1, 32, 5, 0, 0, 50)


def test_loading_is_compared_on_one_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_here(program: str, folder: Path, shape: Shape) -> dict[str, float]:
        monkeypatch.setattr(sys, "argv", ["-c", str(folder), "cpu", "bfloat16"])
        exec(program, names := {})  # noqa: S102 - a process of its own imports for seconds
        return names["found"]

    monkeypatch.setattr(load, "load", load_here)
    found = run(load.main, "--dtype", "bfloat16")
    ours, theirs = found["load_s"]["native"], found["load_s"]["transformers"]
    with torch.device("meta"):
        whole = VitaModel(small(config=explicit_shape(1, 32, 0, 0, 0, 211)).whole_config())
    assert ours["peak_with_prompt_bytes"] >= ours["peak_bytes"]
    parameters = [sum(tensor.numel() for tensor in part.parameters()) for part in (whole, whole.language_model)]
    for way, count in zip((ours, theirs), parameters, strict=True):
        assert 2 * count <= way["weights_bytes"] < 2.1 * count
        assert way["peak_bytes"] > 0
        assert way["bytes_per_s"] == pytest.approx(way["weights_bytes"] / way["median"])


@pytest.mark.parametrize("name", ["tiny", "0.5b"])
def test_a_written_checkpoint_brings_the_settings_of_its_shape(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "save_checkpoint", lambda *_: None)
    monkeypatch.setattr(Shape, "build_whole", lambda _: None)
    shape = replace(small(), name=name)
    load.write_checkpoint(shape, tmp_path / "checkpoint")
    config = VitaConfig.from_pretrained(tmp_path / "checkpoint")
    assert config.audio.output_size == config.text.hidden_size == shape.config.hidden_size


def test_a_process_that_fails_to_load_is_told(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="ended with exit code 3"):
        load.load("raise SystemExit(3)", tmp_path, small())


@pytest.mark.slow
def test_llama_cpp_gives_the_same_tokens_from_the_same_weights() -> None:
    pytest.importorskip("xllamacpp", reason="there is no wheel for this platform")
    shape = (*SMALL, "--width", "128", "--intermediate", "256", "--vocab", "224", "--threads", "1")
    command = [sys.executable, "-m", "benchmarks.llama_cpp", *shape, "--positions", "9", "--tokens", "6"]
    # A process of its own: its server does not like to share one with everything else that tests load.
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["equal_tokens"] == 6
    assert set(found["tpot_s"]) == {"float32", "int8", "int4", "llama.cpp F32", "llama.cpp Q8_0", "llama.cpp Q4_0"}
    assert all(way["p10"] > 0 for way in found["tpot_s"].values())


def test_llama_cpp_is_compared_on_the_cpu_only() -> None:
    result = CliRunner().invoke(llama_cpp.main, [*SMALL, "--dtype", "bfloat16"])
    assert result.exit_code == 2
    assert "on the CPU, from float32 weights" in result.output


def test_the_sizes_of_the_page_about_many_machines_are_the_floors() -> None:
    gpu = Machine(copy_bytes_per_s=3e12, read_bytes_per_s=3e12, matmul_flop_per_s=790e12)
    config = VitaConfig.from_pretrained(resource("configs", "vita15"))
    text = (ROOT / "docs" / "many_machines.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in text.split("| 8 slots | 32 slots |")[1].splitlines()[2:9]]
    for column, slots in ((1, 8), (2, 32)):
        floors = row_floors_s(config, gpu, tiles=13, tokens=100, slots=slots, value_bytes=2)
        row_s = sum(floors.values())
        shown = [*floors.values(), row_s]
        expected = [f"{1e3 * value:.1f}" for value in shown]
        expected += [f"{1 / row_s:.1f}", f"{0.5 / row_s:.1f}", f"{1e6 * row_s / 0.5 / 8 / 3600:.1f}"]
        assert [cells[column] for cells in table] == expected
    steps = [step_work(config.text, 13 * 256 + 64 + 50, slots, 2).read_bytes / 1e9 for slots in (8, 32)]
    assert "decode: 100 steps of {:.1f} or {:.1f} GB".format(*steps) in text


@pytest.mark.slow
def test_a_batch_is_measured_against_a_loop_and_the_floor() -> None:
    arguments = ["--rows", "2", "--tokens", "2", "--slots", "2", "--runs", "1", "--ways", "generate,batch"]
    result = CliRunner().invoke(batch.main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["tiles"], [*found["ways"]]) == (10, ["generate", "batch"])
    assert all(way["rows_per_s"] > 0 for way in found["ways"].values())
    assert {*found["floors_s"]} == {"vision", "prefill", "decode"}
