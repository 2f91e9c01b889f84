"""The compiled sampler on eight devices: their collectives at each step, and the cost of each."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import parallel
from tests.processes import QUICK, run, succeed

PROGRAMS = """
import json
from functools import partial
import jax.numpy as jnp
import numpy as np
from jaxdiff import guidance
from jaxdiff.bands import frequency_bands
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.models.network import unet
from jaxdiff.models.config import UNetConfig
from jaxdiff.process import vp_cosine
from jaxdiff.program_report import program_report
from jaxdiff.solvers import UniPC
from jaxdiff.solvers.driver import traced

config = UNetConfig(
    size=8, values=(2,), base=64, multipliers=(1,), blocks=1, attention=(), head_channels=64, dropout=0.0, stem=2
)
shapes = jax.eval_shape(partial(unet, config), jax.random.key(0))
process, rng = vp_cosine(), np.random.default_rng(0)
unsafe = rng.uniform(-1, 1, (20, 8, 8, 3)).astype(np.float32)
null = np.eye(3, dtype=np.float32)[2]

def reports(text, devices, *names):
    mesh = parallel.make_mesh(text, jax.devices()[:devices])
    network = parallel.abstract_parameters(mesh, shapes)
    plain = NetworkDenoiser(network, process, "v")
    one = parallel.shard_rows(mesh, np.eye(3, dtype=np.float32)[np.arange(16) % 2])
    cases = {
        "plain": (plain, one),
        "switching": (guidance.switching(plain, 0.4), (one, one)),
        "classifier-free": (guidance.classifier_free(plain, null, 2.0), one),
        "safe": (guidance.safe(plain, process, unsafe), one),
        "spectral": (guidance.spectral_switching(plain, frequency_bands((8, 8, 3), (1.5,)), (0.7, 0.4)), (one, one)),
        "semantic": (guidance.semantic(plain, process, null, strengths=np.ones(1, np.float32)), (one, (one,))),
    }
    sharded = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(network))
    for name in names:
        denoise, condition = cases[name]
        with jax.set_mesh(mesh):
            indices = parallel.shard_rows(mesh, np.arange(16, dtype=np.int32))
            program = traced(
                denoise, process, shape=(8, 8, 3), solver=UniPC(6), key=jax.random.key(0), condition=condition, indices=indices
            )
            report = program_report(program.lower().compile())
        exchanged = [[each.kind, each.arrays, each.looped] for each in report.collectives]
        print("REPORT", json.dumps([text, devices, name, sharded, report.flops, report.memory, exchanged]))
"""
SOME = """
reports("", 1, "plain")
reports("", 8, "plain", "classifier-free", "safe")
reports("fsdp=8", 8, "classifier-free")
"""
OTHERS = ("switching", "spectral", "semantic")


def reported(calls):
    """By mesh, devices and name: the parameters that are sharded, operations, bytes, and the collectives."""
    (output,) = succeed(("-c", PROGRAMS + calls), 1, devices=8, **QUICK)
    lines = [json.loads(line.removeprefix("REPORT ")) for line in output.splitlines() if line.startswith("REPORT ")]
    return {tuple(line[:3]): line[3:] for line in lines}


@pytest.fixture(scope="module")
def reports():
    return reported(SOME)


@pytest.mark.parametrize("name", ["plain", "classifier-free", "safe"])
def test_devices_that_hold_all_parameters_exchange_nothing(reports, name):
    assert reports["", 8, name][3] == []


@pytest.mark.slow
def test_nothing_is_exchanged_where_a_step_has_several_conditions():
    found = reported(f"reports('', 8, *{OTHERS})")
    assert {name: found["", 8, name][3] for name in OTHERS} == dict.fromkeys(OTHERS, [])


def test_sharded_parameters_are_gathered_once_for_each_use_and_nothing_else_is_exchanged(reports):
    sharded, _, _, collectives = reports["fsdp=8", 8, "classifier-free"]
    assert sharded > 5
    assert [kind for kind, _, _ in collectives] == ["all-gather"] * sharded
    assert all(looped for _, _, looped in collectives)


def test_each_device_takes_its_share_of_the_work(reports):
    (_, alone, held, _), (_, shared, part, _) = reports["", 1, "plain"], reports["", 8, "plain"]
    assert shared * 8 == pytest.approx(alone, rel=0.02)
    assert part < held


STACKED = """
import jax.numpy as jnp
import numpy as np
mesh = parallel.make_mesh("data=4,fsdp=2")
a, b = np.arange(16.0, dtype=np.float32), np.arange(16.0, dtype=np.float32) + 100
with jax.set_mesh(mesh):
    both = jax.jit(lambda a, b: parallel.shard_batch(parallel.stacked(a, b)))(*parallel.shard_rows(mesh, (a, b)))
    apart = jax.jit(lambda x: parallel.unstacked(x, 2))(both)
    odd = jax.jit(lambda a: parallel.shard_batch(parallel.unstacked(parallel.stacked(a, a + 1), 2)))(np.arange(3.0))
np.testing.assert_array_equal(apart, np.stack([a, b]))
np.testing.assert_array_equal(odd, np.stack([np.arange(3), np.arange(3) + 1]))
for shard in both.addressable_shards:
    rows = np.asarray(shard.data)
    assert set(rows % 100) == set(rows[:2]) and len(rows) == 4, rows
print("apart")
"""


def test_batches_are_stacked_where_their_rows_lie():
    assert "apart" in succeed(("-c", STACKED), 1, devices=8)[0]


def test_on_one_device_batches_are_stacked_whole():
    a, b = jnp.arange(6.0).reshape(3, 2), jnp.ones((3, 2))
    both = parallel.stacked((a, a[:, 0]), (b, b[:, 0]))
    np.testing.assert_array_equal(both[0], np.concatenate([a, b]))
    np.testing.assert_array_equal(parallel.unstacked(both[0], 2), np.stack([a, b]))
    np.testing.assert_array_equal(parallel.unstacked(both[1], 2), np.stack([a[:, 0], b[:, 0]]))


@pytest.fixture
def command(save_model, tmp_path):
    """A dry run of a model in `run`."""
    model = save_model(tmp_path / "run")
    options = ("--out", tmp_path / "set", "--method", "switching", "--steps", 6, "--dry-run", "--devices", 8)
    return ("-m", "sample", "draw", "--model", model, *options)


def test_a_dry_run_prints_the_cost_of_a_batch_and_draws_nothing(command, tmp_path):
    (ended,) = run((*command, "--batch-size", 32, "--count", 100), 1, **QUICK)
    assert ended.code == 0, ended.output
    for words in ("on each of 8 devices", "collectives", "none", "parameters", "GFLOP", "for 4 at that rate", '"data": 8'):
        assert words in ended.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model.safetensors"]


@pytest.mark.slow  # the refusal is that of test_parallel.py
def test_a_batch_that_the_simulated_devices_do_not_divide_is_refused(command):
    (ended,) = run((*command, "--batch-size", 12), 1, **QUICK)
    assert ended.code == 2 and "--batch-size of 12 does not divide over the 8 devices" in ended.output
