"""All Triton kernels compile for a Hopper GPU, and some for others, to the code they should; without a GPU.

The interpreter, which runs them in the other tests, takes what the compiler refuses.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("triton", reason="needs Triton")
pytestmark = pytest.mark.slow


def test_all_kernels_compile_and_spend_few_instructions_on_a_byte() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.model.decode.compile_kernels"]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {kernel["name"]: kernel for kernel in json.loads(done.stdout)}
    limits = {"multiply": 2.3, "multiply normed": 2.8, "multiply normed gated": 2.8}
    limits |= {"int8": 4.8, "int8 normed gated": 5.8, "int4": 8, "int4 normed gated": 8.6}
    for name, limit in limits.items():
        kernel = found[f"{name} bf16"]
        assert kernel["instructions_per_byte"] <= limit, kernel
        assert kernel["wide_loads"], "weights are read 16 bytes at a time"
    quantized = {name: kernel for name, kernel in found.items() if "int" in name and name.endswith("bf16")}
    assert not [name for name, kernel in quantized.items() if kernel["barriers"]]
    assert not [name for name, kernel in quantized.items() if "dequantize" in name and kernel["shared_bytes"]]
    assert all(kernel["shared_bytes"] <= 227 << 10 for kernel in found.values()), "what a Hopper processor shares"
    assert not [name for name, kernel in found.items() if kernel["stack_bytes"] and "bf16" in name], "a spill"
    elsewhere = {name: kernel for name, kernel in found.items() if " sm_" in name}
    assert {name.rpartition("sm_")[2] for name in elsewhere} == {"80", "89", "100"}
    for name, kernel in elsewhere.items():
        assert kernel["wide_loads"], kernel
        assert kernel["shared_bytes"] <= 99 << 10, "what a processor of a GeForce card shares"
        assert kernel["instructions_per_byte"] <= (10.5 if "int4" in name else 5.8), kernel
        assert name.startswith("attend") or not kernel["barriers"], kernel
