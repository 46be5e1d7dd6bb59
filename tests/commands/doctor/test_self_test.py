"""The self-test runs every decode path, and says which one differs, fails or is not there."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from rich.console import Console as RichConsole
from rich.text import Text

from tests.conftest import Run
from tests.model.fakes import SMALL, Tape, make_model
from vita_demo.commands.doctor import decode_paths, self_test
from vita_demo.commands.doctor.decode_paths import DecodePath, LeftOutError, paths_of
from vita_demo.commands.doctor.self_test import PathResult, SelfTest, Subject, run_self_test
from vita_demo.commands.doctor.self_test_view import SelfTestTable
from vita_demo.model.decode import numba_kernels
from vita_demo.model.decode.gpu_step import triton_serves
from vita_demo.model.language_model import LanguageModel

Vita = Callable[..., Run]
CPU = torch.device("cpu")
GPU_PATHS = ("torch operations", "captured operations", "captured prompt", "Triton kernels", "captured kernels")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "_MEASURE_S", 0)
    monkeypatch.setattr(self_test, "copy_bandwidth_bytes_per_s", lambda _: 1e10)


@pytest.fixture
def subject() -> Subject:
    return Subject("tiny", CPU, torch.float32)


def run(subject: Subject) -> dict[str, PathResult]:
    test = SelfTest(subject, {}, 1e10)
    run_self_test(test, lambda _: None)
    return {result.path: result for result in test.results}


def test_every_path_of_the_cpu_agrees(vita: Vita) -> None:
    done = vita("doctor", "--self_test", "--device", "cpu", "--json")
    assert done.code == 0
    report = done.json
    assert (report["agrees"], report["shape"], report["dtype"], report["device"]) == (True, "tiny", "float32", "cpu")
    assert {"python", "torch", "triton", "numba", "platform", "cpu_profile"} <= report["host"].keys()
    assert [path["path"] for path in report["paths"]] == [
        "modules", "CPU step", "4 tokens at once", "4 sequences", "int8", "int4"
    ]  # fmt: skip
    for path in report["paths"]:
        assert path["state"] == "agrees"
        assert path["difference"] <= path["tolerance"]
        assert min(path[name] for name in ("pass_s", "bandwidth_fraction", "first_prefill_s", "prefill_s")) > 0
        assert path["kernels"] is None
    # The table shows how far it is, and stdout is the object alone.
    assert "✓ int4" in done.err
    assert "All paths agree" in done.err


def test_a_path_that_computes_wrongly_is_said_and_the_others_run(monkeypatch: pytest.MonkeyPatch, vita: Vita) -> None:
    attend = numba_kernels.attend
    monkeypatch.setattr(numba_kernels, "attend", lambda qkv, *others: attend(1.1 * qkv, *others))
    done = vita("doctor", "--self_test", "--device", "cpu")
    assert done.code == 1
    signs = {line[2:18].strip(): line[0] for line in done.out.splitlines() if line[:2] in ("✓ ", "✗ ")}
    assert [name for name, sign in signs.items() if sign == "✗"] == ["4 sequences"]
    assert "int4" in signs
    assert "These paths differ or fail: 4 sequences." in done.out


def test_a_path_that_raises_or_is_not_there_stops_no_other(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_model: LanguageModel) -> DecodePath:
        raise RuntimeError("no kernel image is available\nfor this device")

    def absent(_model: LanguageModel) -> DecodePath:
        raise LeftOutError("not today")

    def fallback(model: LanguageModel) -> DecodePath:
        logging.getLogger("vita_demo.model").warning("the decode step cannot be captured: it runs slower")
        return decode_paths.modules(model)

    makers = {"broken": broken, "absent": absent, "fallback": fallback, "modules": decode_paths.modules}
    monkeypatch.setattr(self_test, "paths_of", lambda _: makers)
    results = run(subject)
    assert {name: (result.state, result.reason) for name, result in results.items()} == {
        "broken": ("failed", "RuntimeError: no kernel image is available"),
        "absent": ("left out", "not today"),
        "fallback": ("failed", "the decode step cannot be captured: it runs slower"),
        "modules": ("agrees", None),
    }
    with pytest.raises(RuntimeError):
        run_self_test(SelfTest(subject, {}, 1e10), lambda _: None, debug=True)


def test_logits_that_are_no_numbers_do_not_agree(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def undefined(model: LanguageModel) -> DecodePath:
        path = decode_paths.modules(model)
        return replace(path, read=lambda token_ids: path.read(token_ids) * float("nan"))

    monkeypatch.setattr(self_test, "paths_of", lambda _: {"undefined": undefined})
    assert run(subject)["undefined"].state == "differs"


@pytest.fixture
def gpu_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    """Paths of a GPU on this CPU: operations are launched again instead of replayed, and kernels are interpreted."""
    kernels = pytest.importorskip("vita_demo.model.decode.triton_kernels", reason="needs Triton")
    if not triton_serves(CPU, 16):
        pytest.skip("needs Triton's interpreter")
    tape = Tape()
    # The interpreter's time is that of the number of programs.
    monkeypatch.setattr(kernels, "_ROWS", 64)
    monkeypatch.setattr(decode_paths, "capture_on", lambda _device, **_options: tape)
    monkeypatch.setattr(self_test, "make_language_model", lambda *_: make_model(SMALL))
    makers = paths_of(torch.device("cuda"))
    monkeypatch.setattr(self_test, "paths_of", lambda _: makers)
    return tape


@pytest.mark.slow
def test_every_path_of_a_gpu_agrees(subject: Subject, gpu_paths: Tape) -> None:
    results = run(subject)
    assert list(results)[1:4] + list(results)[6:8] == list(GPU_PATHS)
    states = {name: (result.state, result.reason) for name, result in results.items()}
    assert states.pop("int4")[0] in ("agrees", "left out")
    assert set(states.values()) == {("agrees", None)}
    assert gpu_paths.captures >= 4


@pytest.mark.slow
def test_kernels_that_fell_back_have_failed(subject: Subject, gpu_paths: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise RuntimeError("no C compiler")

    monkeypatch.setattr("vita_demo.model.decode.triton_kernels.attend", absent)
    results = run(subject)
    assert results["Triton kernels"].reason == "RuntimeError: no C compiler"
    assert "cannot use Triton kernels (no C compiler)" in (results["captured kernels"].reason or "")
    assert results["captured operations"].state == "agrees"
    assert gpu_paths.captures


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("gpu", [False, True])
def test_no_line_is_wider_than_the_terminal(
    width: int, gpu: bool, subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = PathResult("captured operations", "agrees", None, 2.3e-3, 0.05, 0.01234, 0.887, 171, 0.0213, 0.0211)
    failed = PathResult("int4", "failed", "RuntimeError: " + "nobody knows why; " * 9)
    test = SelfTest(subject, {"gpu": "NVIDIA H100 80GB HBM3"} if gpu else {}, 3.0123e12)
    test.results.extend([measured, replace(measured, path="int8", state="differs", difference=0.71), failed])
    table = SelfTestTable(RichConsole(width=width, force_terminal=True, highlight=False), gpu)
    table.begin(test)
    for result in test.results:
        table.show(result)
    table.end(test)
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for words in ("✓ captured operations", "2.3e-03", "12.340", "89%", "✗ int8", "✗ int4: failed", "→ RuntimeError: "):
        assert words in text
    assert ("171" in text, "+0.2 ms" in text, "NVIDIA H100" in " ".join(text.split())) == (gpu, gpu, gpu)
