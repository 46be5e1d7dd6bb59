"""A choice of arithmetic is measured once per machine, and everything else only means measuring again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vita_demo.errors import InputError
from vita_demo.generation.options import GenerationOptions
from vita_demo.model.decode.gemv import bfloat16_is_faster, bind_gemv
from vita_demo.model.ops import cpu_profile as module
from vita_demo.model.ops.bfloat16_linear import float32_is_faster
from vita_demo.model.ops.cpu_profile import CHOICES, FILE_NAME, CpuProfile, ProfileStore, cpu_profile
from vita_demo.model.ops.onednn import bypass_is_faster
from vita_demo.model.quantize.replace import FORMATS
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request

NAME, OTHER = "gemv_bypasses_onednn", "int8_by_numba"


def measure(faster: bool) -> Callable[[], tuple[float, float]]:
    return lambda: (1.0, 2.0) if faster else (2.0, 1.0)


def never() -> tuple[float, float]:
    pytest.fail("it is measured again")


@pytest.fixture
def restarted(tmp_path: Path) -> Callable[[], ProfileStore]:
    """Make the store of another process on the same machine."""
    return lambda: ProfileStore(lambda: [tmp_path], lambda: False)


@pytest.mark.parametrize("faster", [True, False])
def test_the_first_measurement_is_kept_for_every_later_process(restarted, faster: bool) -> None:
    store = restarted()
    assert store.choose(NAME, measure(faster)) is faster
    assert store.choose(NAME, never) is faster
    assert restarted().choose(NAME, never) is faster
    assert restarted().current().choices == {NAME: faster}


def test_what_a_busy_machine_measures_serves_one_process_only(restarted, tmp_path: Path) -> None:
    busy = ProfileStore(lambda: [tmp_path], lambda: True)
    assert busy.choose(NAME, measure(False)) is False
    assert busy.choose(NAME, never) is False
    assert restarted().choose(NAME, measure(True)) is True
    assert ProfileStore(lambda: [tmp_path], lambda: True).choose(NAME, never) is True


def test_of_two_processes_that_measure_at_once_the_first_wins_and_nothing_is_lost(restarted) -> None:
    first, second = restarted(), restarted()
    assert second.current().choices == {}
    assert first.choose(NAME, measure(True)) is True
    assert second.choose(NAME, measure(False)) is True
    assert second.choose(OTHER, measure(False)) is False
    assert restarted().current().choices == {NAME: True, OTHER: False}


@pytest.mark.parametrize("content", ["", "{", "7", "[7]", '{"a": 1}', f'[{{"machine": "m", "{NAME}": "yes"}}]'])
def test_a_damaged_file_means_measuring_again(restarted, tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert restarted().choose(NAME, measure(True)) is True
    assert restarted().choose(NAME, never) is True


def test_a_folder_that_cannot_be_written_means_the_next_one_or_measuring_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folders = [tmp_path / "file" / "folder", tmp_path / "cache"]
    assert ProfileStore(lambda: folders[:1], lambda: False).choose(NAME, measure(True)) is True
    assert ProfileStore(lambda: folders[:1], lambda: False).choose(NAME, measure(False)) is False
    assert ProfileStore(lambda: folders, lambda: False).choose(NAME, measure(True)) is True
    assert ProfileStore(lambda: folders, lambda: False).choose(NAME, never) is True
    assert [path.name for path in folders[1].iterdir()] == [FILE_NAME]


def test_each_machine_and_thread_count_has_its_own(restarted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    store = restarted()
    assert store.choose(NAME, measure(True)) is True
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert store.choose(NAME, measure(False)) is False
    monkeypatch.setattr(module, "machine_key", lambda _threads: "another machine")
    assert restarted().choose(NAME, measure(False)) is False
    monkeypatch.undo()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert restarted().choose(NAME, never) is True
    assert "2 threads" in restarted().current().machine
    assert torch.__version__ in restarted().current().machine


def test_a_given_profile_is_followed_filled_up_and_not_kept(restarted, tmp_path: Path) -> None:
    store = restarted()
    store.use(CpuProfile("elsewhere", {NAME: True}))
    assert store.choose(NAME, never) is True
    assert store.choose(OTHER, measure(False)) is False
    assert store.current().choices == {NAME: True, OTHER: False}
    assert store.current().machine == "elsewhere"
    assert not list(tmp_path.iterdir())
    store.use(None)
    assert store.choose(NAME, measure(False)) is False


def test_a_profile_survives_json() -> None:
    profile = CpuProfile("m", {NAME: True, OTHER: False})
    values = json.loads(json.dumps(profile.to_dict()))
    assert values == {"machine": "m", NAME: True, OTHER: False}
    assert CpuProfile.from_dict(values) == profile
    assert CpuProfile.from_dict({**values, "of a later version": True}) == profile
    assert CpuProfile.from_dict({}) == CpuProfile()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "None is no CPU profile"),
        ({NAME: 1}, f"the CPU profile's {NAME} is 1; give true or false"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(values: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        CpuProfile.from_dict(values)
    assert "\n" not in str(error.value)


def test_a_profile_is_described_in_one_line() -> None:
    assert CpuProfile("m").describe() == "m: nothing measured yet"
    described = CpuProfile("m", {NAME: True, OTHER: False}).describe()
    assert described == "m: bfloat16 GEMV without oneDNN, int8 GEMV by torch"
    assert len({words for pair in CHOICES.values() for words in pair}) == 2 * len(CHOICES)


MEASURING = {
    "gemv_bypasses_onednn": bypass_is_faster,
    "bfloat16_gemm_in_float32": float32_is_faster,
    "decodes_bfloat16": bfloat16_is_faster,
    "gemv_stripes_small": lambda: bind_gemv(torch.ones(768, 128), torch.ones(128), torch.ones(768)),
    **{
        f"{quantize}_by_numba": lambda layer=layer: layer(1024, 1024, None, torch.device("cpu")).pack()
        for quantize, layer in FORMATS.items()
    },
}


@pytest.mark.parametrize("name", CHOICES)
@torch.inference_mode()
def test_every_choice_is_the_shorter_time(name: str, use_profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    keep, measured = ProfileStore._keep, {}

    def note(store: ProfileStore, choice: str, first_s: float, second_s: float) -> None:
        measured[choice] = first_s, second_s
        keep(store, choice, first_s, second_s)

    monkeypatch.setattr(ProfileStore, "_keep", note)
    use_profile()
    MEASURING[name]()
    first_s, second_s = measured[name]
    assert min(first_s, second_s) > 0
    assert cpu_profile().choices[name] is (first_s < second_s)


def test_a_small_model_in_float32_measures_no_other_precision(embedded_pipeline: Pipeline, use_profile) -> None:
    use_profile()
    embedded_pipeline.generate(Request(question="hi"), GenerationOptions(max_new_tokens=2))
    assert cpu_profile().choices.keys() <= {"gemv_stripes_small"}
