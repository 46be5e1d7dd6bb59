"""Names that are unknown are refused before torch is imported."""

import pytest

from vita_demo.checkpoint.source import ModelSource
from vita_demo.errors import InputError


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"device": "abacus"}, "--device abacus is unknown; give auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:x"}, "--device cuda:x is unknown"),
        ({"dtype": "half"}, "--dtype half is unknown; give auto, float32, float16, bfloat16"),
        ({"quantize": "int3"}, "--quantize int3 is unknown; give int8 or int4"),
        ({"threads": 0}, "--threads 0 must be at least 1"),
    ],
)
def test_unknown_names_are_refused(values: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ModelSource(**values)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_known_ones_are_taken(device: str) -> None:
    assert ModelSource(device=device, dtype="bfloat16", quantize="int4", threads=2).device == device
