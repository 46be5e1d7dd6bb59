"""Compiles all Triton kernels for a Hopper GPU and some for others; prints as JSON what the assembler made of them.

Needs no GPU.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from vita_demo.model.decode import triton_kernels as step
from vita_demo.model.quantize import triton_kernels as quantized

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
INTEGERS = ("m", "n", "k", "length", "parts", "high_bits", "low_bits", "capacity", "kv_heads")
TYPES = {
    "position": "*i64",
    "attended": "*fp32",
    "peaks": "*fp32",
    "sums": "*fp32",
    "eps": "fp32",
    "scale": "fp32",
    **dict.fromkeys(INTEGERS, "i32"),
}
HOPPER, OTHERS = 90, (80, 89, 100)
"""Compute capabilities."""
FLAGS = {"normed": "norm", "gated": None, "added": "addend"}


@dataclass(frozen=True)
class Compiled:
    """What the assembler made of a kernel; what is counted is that of its longest loop, for one thread."""

    name: str
    registers: int
    stack_bytes: int
    shared_bytes: int
    instructions_per_byte: float
    wide_loads: int
    barriers: int


def assemble(
    kernel, dtype: str, pointers: dict[str, str], constants: dict, warps: int, capability: int
) -> tuple[bytes, int]:
    known = TYPES | pointers | dict.fromkeys(constants, "constexpr")
    signature = {name: known.get(name, "*" + dtype) for name in kernel.arg_names}
    # As when it is launched with lengths and addresses that are multiples of 16.
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or (kind == "i32" and name not in ("m", "parts", "kv_heads"))
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    return compiled.asm["cubin"], compiled.metadata.shared


def tool(name: str, *arguments: object) -> str:
    command = [TOOLS / name, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def longest_loop(listing: str) -> list[str]:
    """The instructions between a label and the last jump back to it."""
    labels, code, loops = {}, [], [[]]
    for line in listing.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(code)
        elif instruction := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            code.append(instruction[1])
            target = re.search(r"BRA.*?(\.L_x_\d+)", instruction[1])
            if target and target[1] in labels:
                loops.append(code[labels[target[1]] :])
    return max(loops, key=len)


def measure(
    kernel, name, dtype: str, loop_bytes: int, pointers: dict, constants: dict, warps=4, capability=HOPPER
) -> Compiled:
    cubin, shared = assemble(kernel, dtype, pointers, constants, warps, capability)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", tool("cuobjdump", "-res-usage", file)).groups()
        loop = longest_loop(tool("nvdisasm", "-c", file))
    wide = sum("LDG" in instruction and ".128" in instruction for instruction in loop)
    barriers = sum(instruction.startswith("BAR") for instruction in loop)
    per_byte = len(loop) * 32 * warps / loop_bytes
    full_name = f"{name} {dtype}" if capability == HOPPER else f"{name} {dtype} sm_{capability}"
    return Compiled(full_name, int(registers), int(stack), shared, per_byte, wide, barriers)


def measure_product(
    kernel, name, dtype: str, loop_bytes: int, along: str, pointers=None, warps=4, capability=HOPPER, **constants
) -> Compiled:
    taken = {flag: flag in along for flag in FLAGS if flag in kernel.arg_names}
    absent = {FLAGS[flag]: None for flag, there in taken.items() if not there and FLAGS[flag]}
    known = taken | absent | constants
    return measure(kernel, f"{name} {along}".strip(), dtype, loop_bytes, pointers or {}, known, warps, capability)


def measure_all(dtype: str) -> list[Compiled]:
    item_bytes = 2 if dtype == "bf16" else 4
    found = [
        measure_product(step._multiply, "multiply", dtype, 4 * 1024 * item_bytes, along, rows=4, columns=1024)
        for along in ("", "added", "normed", "normed added", "normed gated")
    ]
    eight, four = {"weight": "*i8", "scales": "*bf16"}, {"weight": "*i32", "scales": "*bf16"}
    for along in ("", "added", "normed added", "normed gated"):
        sizes = {"rows": 4, "columns": 512, "warps": 2}
        found.append(measure_product(quantized._int8, "int8", dtype, 4 * 512, along, eight, **sizes))
        for group in (128, 64, 32) if along == "normed gated" else (128,):
            name = "int4" if group == 128 else f"int4/{group}"
            sizes = {"rows": 8, "words": 256, "group": group, "warps": 2}
            found.append(measure_product(quantized._int4, name, dtype, 8 * 256 * 4, along, four, **sizes))
    sizes = {"rows": 8, "columns": 512}
    kernel, pointers = quantized._dequantize_int8, {"packed": "*i8", "scales": "*bf16"}
    found.append(measure(kernel, "dequantize int8", dtype, 8 * 512, pointers, sizes))
    for group in (128, 32):
        name = "dequantize int4" if group == 128 else f"dequantize int4/{group}"
        sizes = {"rows": 8, "words": 64, "group": group}
        found.append(measure(quantized._dequantize_int4, name, dtype, 8 * 64 * 4, four, sizes))
    combination = {"head_dim": 128, "splits": 32}
    found.append(measure(step._combine, "combine", dtype, 32 * 128 * 4, {}, combination))
    return [*found, measure_attention(dtype)]


def measure_attention(dtype: str, capability: int = HOPPER) -> Compiled:
    attention = {"group": 7, "rows": 16, "head_dim": 128, "splits": 32, "block": 64}
    loop_bytes = 2 * 64 * 128 * (2 if dtype == "bf16" else 4)
    return measure(step._attend, "attend", dtype, loop_bytes, {}, attention, capability=capability)


def measure_elsewhere(capability: int) -> list[Compiled]:
    along, eight, four = "normed gated", {"weight": "*i8", "scales": "*bf16"}, {"weight": "*i32", "scales": "*bf16"}
    plain = {"rows": 4, "columns": 1024, "capability": capability}
    wide = {"rows": 4, "columns": 512, "warps": 2, "capability": capability}
    narrow = {"rows": 8, "words": 256, "group": 128, "warps": 2, "capability": capability}
    return [
        measure_product(step._multiply, "multiply", "bf16", 4 * 1024 * 2, along, **plain),
        measure_product(quantized._int8, "int8", "bf16", 4 * 512, along, eight, **wide),
        measure_product(quantized._int4, "int4", "bf16", 8 * 256 * 4, along, four, **narrow),
        measure_attention("bf16", capability),
    ]


if __name__ == "__main__":
    kernels = [kernel for dtype in ("bf16", "fp32") for kernel in measure_all(dtype)]
    kernels += [kernel for capability in OTHERS for kernel in measure_elsewhere(capability)]
    sys.stdout.write(json.dumps([asdict(kernel) for kernel in kernels]))
