"""A step with accumulation or over many devices equals the plain step, with no more collectives than it needs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdiff.classifier import Classification
from jaxdiff.models.network import Network
from jaxdiff.process import vp_cosine
from jaxdiff.training import Objective, Optimization, initial_state, train_step
from tests.processes import QUICK, succeed

SHAPE = (4, 4, 3)
OPTIMIZATION = Optimization(learning_rate=0.05, warmup=1)

pytestmark = pytest.mark.usefixtures("double_precision")


class Curved(nnx.Module):
    """A small network that is nonlinear in its weights, as a denoiser or as a classifier of three values."""

    def __init__(self, outputs: int):
        rng = np.random.default_rng(0)
        self.inner = nnx.Param(jnp.asarray(rng.standard_normal((48, 8)) / 7))
        self.labels = nnx.Param(jnp.asarray(rng.standard_normal((4, 8))))
        self.outer = nnx.Param(jnp.asarray(rng.standard_normal((8, outputs)) / 3))

    def __call__(self, x, t, condition=None, dropout_key=None):
        hidden = x.reshape(x.shape[0], -1) @ self.inner[...] + t[:, None]
        hidden = hidden if condition is None else hidden + self.labels[...][condition[:, 0]]
        out = jnp.tanh(hidden) @ self.outer[...]
        return out if condition is None else out.reshape(x.shape)


def stepped(objective, outputs, parts, steps=3):
    """The state after some steps in so many parts, and the metrics of each."""
    rng = np.random.default_rng(1)
    batch = {"x0": jnp.asarray(rng.standard_normal((12, *SHAPE))), "labels": jnp.asarray(rng.integers(0, 3, (12, 1)))}
    structure, weights = nnx.split(Curved(outputs), nnx.Param)
    state, collected = initial_state(Network(weights, structure), OPTIMIZATION), []
    for _ in range(steps):
        state, metrics = train_step(
            state, vp_cosine(), batch, jax.random.key(2), objective=objective, optimization=OPTIMIZATION, parts=parts
        )
        collected.append(metrics)
    return jax.tree.leaves((state, collected))


@pytest.mark.parametrize(
    ("objective", "outputs", "parts"), [(Objective("v", label_dropout=0.4), 48, 3), (Classification((0.5, 0.3, 0.2)), 3, 2)]
)
def test_a_step_in_parts_is_the_undivided_step(objective, outputs, parts):
    """Its gradient is the mean of the parts' gradients; times, noise and dropped labels are those of the whole batch."""
    whole, divided = stepped(objective, outputs, 1), stepped(objective, outputs, parts)
    for expected, got in zip(whole, divided, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_parts_draw_dropout_of_their_own():
    """A network whose output is its dropout's draw has another loss in each part: none repeats another's."""

    class Drawing(Curved):
        def __call__(self, x, t, condition=None, dropout_key=None):
            return super().__call__(x, t, condition) + 100 * jax.random.normal(dropout_key, ())

    structure, weights = nnx.split(Drawing(48), nnx.Param)
    batch = {"x0": jnp.zeros((12, *SHAPE)), "labels": jnp.zeros((12, 1), jnp.int32)}
    state = initial_state(Network(weights, structure), OPTIMIZATION)
    gradients = set()
    for parts in (1, 3):
        copied = jax.tree.map(jnp.copy, state)
        _, metrics = train_step(
            copied, vp_cosine(), batch, jax.random.key(2), objective=Objective("x0"), optimization=OPTIMIZATION, parts=parts
        )
        gradients.add(float(metrics["loss"]))
    assert len(gradients) == 2


MESHES = """
import json
import sys
from functools import partial
import numpy as np
from jaxdiff.program_report import program_report
from jaxdiff.training import train_step
from tests.small_training import *
from train.loop import fresh_state

parallel.MIN_SHARDED_SIZE = 0  # so that this network's parameters are sharded, too
task = Diffusion(NETWORK, vp_cosine(), OBJECTIVE, OPTIMIZATION, 8, 16)
rng = np.random.default_rng(0)
images = rng.standard_normal((16, SIZE, SIZE, 3)).astype(np.float32)
batch = {"x0": images, "labels": rng.integers(0, 2, (16, 1)).astype(np.int32)}
make, key, results = partial(fresh_state, task), jax.random.key(0), {}
meshes = {"one": ("", 1, 1), "whole": ("", 8, 1), "sharded": ("data=2,fsdp=4", 8, 1), "parts": ("fsdp=8", 8, 2)}
for name in sys.argv[1:]:
    text, devices, parts = meshes[name]
    mesh = parallel.make_mesh(text, jax.devices()[:devices])
    with jax.set_mesh(mesh):
        shardings = parallel.parameter_shardings(mesh, jax.eval_shape(make, key))
        state = jax.jit(make, out_shardings=shardings)(key)
        rows, indices = (parallel.shard_rows(mesh, each) for each in (batch, np.arange(devices, dtype=np.int32)))
        given = rows, jax.random.key(1), indices
        step = train_step.lower(
            state, task.process, *given, objective=OBJECTIVE, optimization=OPTIMIZATION, parts=parts
        ).compile()
        losses = []
        for _ in range(5):
            state, metrics = step(state, task.process, *given)
            losses.append(float(metrics["loss"]))
    kept = all(leaf.sharding.is_equivalent_to(at, leaf.ndim) for leaf, at in zip(*map(jax.tree.leaves, (state, shardings))))
    report = program_report(step)
    weights = jax.tree.leaves(state.network.weights)
    sharded = [leaf.shape for leaf in weights if any(leaf.sharding.spec)]
    gathered = [each.arrays[0].partition("[")[2] for each in report.collectives if each.kind == "all-gather"]
    results[name] = {
        "losses": losses,
        "request": int(metrics["request"]),
        "kept": kept,
        "kinds": {kind: count for kind, (count, _) in report.by_kind().items()},
        "gathered": sorted(gathered),
        "sharded": sorted(",".join(map(str, shape)) + "]" for shape in sharded),
        "bytes": sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state)),
        "flops": report.flops,
    }
print("RESULTS", json.dumps(results))
"""


@pytest.mark.parametrize("meshes", [["sharded"], pytest.param(["whole", "sharded", "parts"], marks=pytest.mark.slow)], ids=str)
def test_a_step_over_eight_devices_is_that_of_one_and_exchanges_what_it_must(meshes):
    (output,) = succeed(("-c", MESHES, "one", *meshes), 1, devices=8, **QUICK)
    results = json.loads(output.split("RESULTS ")[1])
    one = results.pop("one")
    for each in results.values():
        np.testing.assert_allclose(each["losses"], one["losses"], rtol=1e-5)
        assert each["request"] == 7 and each["kept"]
        # all but the optimiser's
        assert each["flops"] < one["flops"] / 6
    assert one["kinds"] == {}
    if "whole" in results:
        # replicated: the sum of the gradients and of the metrics, and the largest request
        assert results["whole"]["kinds"].keys() == {"all-reduce"} and results["whole"]["bytes"] == one["bytes"]
    # sharded: also gathers each parameter once, for its use, and nothing else
    assert results["sharded"]["kinds"].keys() == {"all-reduce", "all-gather"}
    assert results["sharded"]["gathered"] == results["sharded"]["sharded"] and len(results["sharded"]["sharded"]) > 40
    assert results["sharded"]["bytes"] < 0.3 * one["bytes"]
