"""All Triton kernels compile for a Hopper GPU, with this machine's Triton and without a GPU.

The interpreter, which runs them in the other tests, takes what the compiler refuses.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("triton", reason="needs Triton")
pytestmark = pytest.mark.slow

PROGRAM = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vita_demo.model.quantize import triton_kernels as quantized_triton
from vita_demo.model.decode import triton_kernels as step_triton

POINTERS = {"position": "*i64", "attended": "*fp32", "peaks": "*fp32", "sums": "*fp32"}
INTEGERS = ("m", "n", "k", "length", "high_bits", "low_bits", "capacity", "kv_heads")
NUMBERS = {"eps": "fp32", "scale": "fp32"} | dict.fromkeys(INTEGERS, "i32")


def compile_kernel(kernel, pointers=(), **constants):
    known = POINTERS | NUMBERS | dict(pointers) | dict.fromkeys(constants, "constexpr")
    for dtype in ("bf16", "fp32"):
        signature = {name: known.get(name, "*" + dtype) for name in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        assert compiled.metadata.shared <= 227 << 10, f"{kernel} in {dtype}: more than a Hopper processor shares"


names = {"normed": "norm", "gated": None, "added": "addend"}


def compile_product(kernel, along, pointers=(), **constants):
    flags = {flag: flag in along for flag in names if flag in kernel.arg_names}
    missing = {name: None for flag, name in names.items() if name in kernel.arg_names and flag not in along}
    compile_kernel(kernel, pointers, **flags, **missing, **constants)


for along in ([], ["normed", "added"], ["added"], ["normed", "gated"]):
    compile_product(step_triton._multiply, along, rows=4, columns=1024)
integers, words = {"weight": "*i8", "scales": "*bf16"}, {"weight": "*i32", "pairs": "*i32"}
for along in ([], ["added"], ["gated"]):
    compile_product(quantized_triton._int8, along, integers, rows=4, columns=1024)
    for group in (128, 64, 32):
        compile_product(quantized_triton._int4, along, words, rows=8, words=512, group=group)
compile_kernel(step_triton._attend, group=7, rows=16, head_dim=128, splits=32, block=64)
compile_kernel(step_triton._combine, head_dim=128, splits=32)
"""


def test_all_kernels_compile_in_bfloat16_and_float32() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
