"""The report of a compiled program: operations and memory of matrix products, and every way to write a collective."""

import jax
import jax.numpy as jnp
import pytest

from jaxdiff.program_report import collectives, matrix_rate, program_report
from tests.processes import succeed

# each way of writing: an array, several as one, a start (what goes in, what comes out, its own) with its end, in a loop's body
TEXT = """
HloModule program

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%inner (p: bf16[8,4]) -> bf16[16,4] {
  ROOT %g = bf16[16,4]{1,0} all-gather(%p), channel_id=1, dimensions={0}, metadata={op_name="jit(f)/while/body/dot"}
}

%body (t: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %f = bf16[16,4]{1,0} fusion(%x), kind=kLoop, calls=%inner
  %perm = (f32[3]{0}, f32[3]{0}, u32[], u32[]) collective-permute-start(%y), channel_id=7
  %done = f32[3]{0} collective-permute-done(%perm)
}

%condition (t: (s32[], bf16[8,4])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (w: f32[4,2]) -> f32[] {
  %many = (f32[2,2]{1,0:T(8,128)}, s8[5]{0}) all-reduce(%w, %v), channel_id=2, to_apply=%add
  %started = f32[7]{0} all-reduce-start(%z), channel_id=3, to_apply=%add
  %ended = f32[7]{0} all-reduce-done(%started)
  %pair = ((f32[4,2]{1,0}, f32[1]{0}), (f32[16,2]{1,0}, f32[4]{0})) all-gather-start(%w, %u), channel_id=4
  %one = (pred[4]{0}, pred[16]{0}) all-gather-start(%w), channel_id=5
  %loop = (s32[], bf16[8,4]) while(%tuple), condition=%condition, body=%body, backend_config={"n":"5"}
  ROOT %scattered = f64[2]{0} reduce-scatter(%w), channel_id=6, to_apply=%add
}
"""


def test_every_way_of_writing_a_collective_is_read():
    read = [(each.kind, each.arrays, each.bytes, each.looped) for each in collectives(TEXT)]
    assert read == [
        ("all-gather", ("bf16[16,4]",), 128, True),
        ("collective-permute", ("f32[3]",), 12, True),
        ("all-reduce", ("f32[2,2]", "s8[5]"), 21, False),
        ("all-reduce", ("f32[7]",), 28, False),
        ("all-gather", ("f32[16,2]", "f32[4]"), 144, False),
        ("all-gather", ("pred[16]",), 16, False),
        ("reduce-scatter", ("f64[2]",), 16, False),
    ]
    assert collectives(TEXT)[0].operation == "jit(f)/while/body/dot"


def test_a_product_of_matrices_takes_what_arithmetic_says():
    a, b = jax.ShapeDtypeStruct((64, 32), jnp.float32), jax.ShapeDtypeStruct((32, 16), jnp.float32)
    report = program_report(jax.jit(jnp.matmul).lower(a, b).compile())
    assert report.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.01)
    assert (report.arguments, report.outputs) == (4 * (64 * 32 + 32 * 16), 4 * 64 * 16)
    assert report.memory == report.arguments + report.outputs + report.temporaries
    assert report.collectives == () and report.by_kind() == {}


def test_a_donated_argument_is_not_counted_twice():
    a = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    report = program_report(jax.jit(lambda a: a + 1, donate_argnums=0).lower(a).compile())
    assert (report.arguments, report.outputs) == (4 * 64 * 64, 0)


def test_the_rate_of_matrix_products_is_positive_and_finite():
    assert 0 < matrix_rate(size=64, seconds=0.01) < float("inf")


DEALT = """
import jax.numpy as jnp
from jaxdiff.program_report import program_report
mesh = parallel.make_mesh("data=2,fsdp=4")
w, x = jax.ShapeDtypeStruct((512, 256), jnp.float32), jax.ShapeDtypeStruct((16, 512), jnp.float32)
shardings = parallel.parameter_shardings(mesh, w), parallel.batch_sharding(mesh)
report = program_report(jax.jit(lambda w, x: jnp.tanh(x @ w), in_shardings=shardings).lower(w, x).compile())
print("REPORT", report.flops, report.arguments, report.by_kind(), report.collectives[0].arrays)
"""


def test_a_sharded_product_gathers_its_matrix_once_and_divides_its_operations():
    (output,) = succeed(("-c", DEALT), 1, devices=8)
    fields = output.split("REPORT ")[1].split(maxsplit=2)
    assert float(fields[0]) == pytest.approx(2 * 16 * 512 * 256 / 8, rel=0.02)
    assert int(fields[1]) == 4 * (512 * 256 // 4 + 2 * 512)
    assert fields[2].strip() == f"{{'all-gather': (1, {4 * 512 * 256})}} ('f32[512,256]',)"
