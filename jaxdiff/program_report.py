"""The cost of a compiled program according to XLA, without running it: operations, memory and collectives."""

import re
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)
_BYTES = {"pred": 1, "s4": 1, "u4": 1, "bf16": 2, "c64": 8, "c128": 16}  # the names of other types contain their bits
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch_computations|called_computations|calls)=\{([^}]*)\}")
_LOOP = re.compile(r"\bwhile\(.*\bbody=%?([\w.\-]+)")


@dataclass(frozen=True)
class Collective:
    """A collective operation in a compiled program.

    Attributes:
        kind: one of `KINDS`.
        arrays: its results on each device in XLA's notation, e.g. ("f32[3,3,64,64]",); several may be combined in one.
        bytes: the size of these arrays.
        looped: whether it is inside a loop, and so executed in every iteration.
        operation: the JAX operation that it belongs to, e.g. "jit(train_step)/transpose(jvp())/reduce_sum"; empty if unknown.
    """

    kind: str
    arrays: tuple[str, ...]
    bytes: int
    looped: bool
    operation: str


@dataclass(frozen=True)
class ProgramReport:
    """The cost of a compiled program on each device.

    Attributes:
        flops: floating-point operations of a call. XLA counts the body of a loop once, for any number of iterations.
        arguments, outputs, temporaries: memory in bytes. Outputs that alias a donated argument are not counted in `outputs`.
        collectives: the collective operations, in the order of the program's text.
    """

    flops: float
    arguments: int
    outputs: int
    temporaries: int
    collectives: tuple[Collective, ...]

    @property
    def memory(self) -> int:
        """Memory on each device while the program runs, in bytes."""
        return self.arguments + self.outputs + self.temporaries

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """The number and the total bytes of the collectives of each kind that occurs."""
        counts, sizes = Counter(), Counter()
        for each in self.collectives:
            counts[each.kind] += 1
            sizes[each.kind] += each.bytes
        return {kind: (counts[kind], sizes[kind]) for kind in KINDS if counts[kind]}


def program_report(compiled: Any) -> ProgramReport:
    """The report on `jax.jit(f).lower(...).compile()`, whose arguments may be shapes with shardings instead of arrays."""
    memory = compiled.memory_analysis()
    return ProgramReport(
        flops=float(compiled.cost_analysis().get("flops", 0.0)),
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        collectives=collectives(compiled.as_text()),
    )


def collectives(text: str) -> tuple[Collective, ...]:
    """The collectives in the text of a compiled program (HLO). An asynchronous pair of start and done counts as one."""
    computations, name = {}, None
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            computations[name := head[1]] = []
        elif name is not None:
            computations[name].append(line)
    looped = _within_loops(computations)
    return tuple(
        _collective(line, found, name in looped)
        for name, lines in computations.items()
        for line in lines
        if (found := _COLLECTIVE.search(line))
    )


def _within_loops(computations: dict[str, list[str]]) -> set[str]:
    """The names of the computations reachable from the body of a loop."""
    called = {name: {other for line in lines for other in _calls(line)} for name, lines in computations.items()}
    reached, left = set(), [found[1] for lines in computations.values() for line in lines if (found := _LOOP.search(line))]
    while left:
        if (name := left.pop()) not in reached:
            reached.add(name)
            left += called.get(name, ())
    return reached


def _calls(line: str) -> list[str]:
    named = [other.strip().lstrip("%") for group in _BRANCHES.findall(line) for other in group.split(",")]
    return _CALLED.findall(line) + named


def _collective(line: str, found: re.Match, looped: bool) -> Collective:
    shapes, kind, started = found[1], found[2], found[3]
    if started and kind != "all-reduce" and shapes.startswith("("):
        # the tuple of a start has the operands, then the results, then the context
        shapes = _elements(shapes)[1]
    arrays = _ARRAY.findall(shapes)
    operation = re.search(r'op_name="([^"]*)"', line)
    return Collective(
        kind=kind,
        arrays=tuple(f"{dtype}[{sizes}]" for dtype, sizes in arrays),
        bytes=sum(_size(dtype, sizes) for dtype, sizes in arrays),
        looped=looped,
        operation=operation[1] if operation else "",
    )


def _elements(shapes: str) -> list[str]:
    """The elements of a tuple of shapes, each of which is an array or a tuple."""
    parts, depth = [""], 0
    for letter in shapes[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _size(dtype: str, sizes: str) -> int:
    bits = re.match(r"[a-z]+(\d+)", dtype)
    each = _BYTES.get(dtype) or (max(1, int(bits[1]) // 8) if bits else 0)
    for size in sizes.split(",") if sizes else ():
        each *= int(size)
    return each


def matrix_rate(dtype: Any = jnp.float32, size: int = 1024, seconds: float = 0.5) -> float:
    """The rate of products of square matrices on the first device, in operations a second, to compare a program's `flops` with.

    Arguments:
        dtype: of the matrices.
        size: the number of rows and columns; 2 size³ operations a product.
        seconds: the duration of the measurement, after a first product that compiles; the fastest product counts.
    """
    device = jax.local_devices()[0]
    a = jax.device_put(jnp.ones((size, size), dtype), device)
    product = jax.jit(partial(jnp.matmul, precision="default"))
    product(a, a).block_until_ready()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        product(a, a).block_until_ready()
        fastest = min(fastest, time.perf_counter() - begun)
    return 2 * size**3 / fastest
