"""Autoguidance, and nests that are trees: breakpoints, memory and evaluations of the second child."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, Guidance, Memory, Stateful, as_denoiser, breakpoints, evaluate, initial_memory
from jaxdiff.process import expand, vp_cosine
from jaxdiff.solvers import DDIM, Heun, sample
from jaxdiff.solvers.driver import _sample, evaluations, evaluations_of_each, sample_grid

PROCESS = vp_cosine()
N = 4


def gaussian(mean, std) -> GaussianMixture:
    """The posterior mean of N(mean, std²) data, the same under every condition."""
    return GaussianMixture(jnp.full((1, 1, 2), mean), jnp.full((1, 1), std), jnp.zeros((1, 1)), PROCESS)


def drawn(denoise, key, solver=None, condition=None, **arguments):
    """Samples of two numbers."""
    condition = jnp.full(N, -1) if condition is None else condition
    return sample(denoise, PROCESS, shape=(2,), solver=solver or DDIM(8), key=key, condition=condition, **arguments)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.5])
def test_it_extrapolates_from_the_weak_model_in_closed_form(scale, rng):
    """A Gaussian's posterior mean is m + s² a (x - a m) / (a² s² + sigma²)."""
    t, x = 0.4, jnp.asarray(rng.standard_normal((N, 2)), jnp.float32)
    alpha, sigma = float(PROCESS.alpha(t)), float(PROCESS.sigma(t))

    def exact(mean, std):
        return mean + std**2 * alpha * (x - alpha * mean) / (alpha**2 * std**2 + sigma**2)

    guided = guidance.autoguidance(gaussian(0.5, 0.3), gaussian(-0.25, 0.9), scale)(x, t, jnp.full(N, -1))
    wanted = exact(-0.25, 0.9) + scale * (exact(0.5, 0.3) - exact(-0.25, 0.9))
    np.testing.assert_allclose(guided, wanted, rtol=2e-5, atol=2e-6)


def test_the_guided_law_is_the_one_of_the_extrapolated_score(key):
    """Main and weak model with means m and m' and one spread: guidance shifts the mean to m + (w - 1) (m - m'), exactly."""
    guided = guidance.autoguidance(gaussian(0.5, 0.4), gaussian(0.1, 0.4), 3.0)
    shifted = drawn(gaussian(0.5 + 2 * 0.4, 0.4), key, DDIM(20))
    np.testing.assert_allclose(drawn(guided, key, DDIM(20)), shifted, atol=2e-5)


@pytest.mark.bits
def test_scale_1_is_the_main_model_bit_for_bit_and_a_scale_compiles_nothing(key):
    main, weak = gaussian(0.5, 0.3), gaussian(-0.25, 0.9)
    plain = drawn(main, key)
    np.testing.assert_array_equal(drawn(guidance.autoguidance(main, weak, 1.0), key), plain)
    programs = _sample._cache_size()
    assert not np.array_equal(drawn(guidance.autoguidance(main, weak, 1.5), key), plain)
    assert not np.array_equal(drawn(guidance.autoguidance(main, gaussian(0.0, 1.0), 1.5), key), plain)
    assert _sample._cache_size() == programs


# --- the nest as a tree ---


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counting(Stateful):
    """Counts how often each sample is remembered, and adds it to the condition."""

    def begin(self, x):
        """None yet."""
        return jnp.zeros(len(x))

    def guide(self, denoise, x, t, condition, memory):
        """The posterior mean, and the count."""
        return denoise(x, t, condition), memory + 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Twice(Guidance):
    """Calls the denoiser inside twice, at the state and at its mirror image."""

    def guide(self, denoise, x, t, condition):
        """The sum of both."""
        return denoise(x, t, condition) + denoise(-x, t, condition)


def labelled(x, t, condition):
    """A posterior mean that is the condition."""
    return jnp.broadcast_to(expand(condition, x), x.shape).astype(x.dtype)


def start_of(x, t, condition):
    """A main model that takes the first of a pair of conditions."""
    return labelled(x, t, condition[0])


TAUS = np.array([0.21, 0.37, 0.62, 0.9], np.float32)
PAIR = (jnp.zeros(N), jnp.ones(N))


def of_second_child():
    """A switching with a transition point for each sample, and a count, inside the second child."""
    weak = guidance.clipped(guidance.switching(Counting(as_denoiser(labelled)), TAUS), -5.0, 5.0)
    return guidance.autoguidance(start_of, weak, 2.0)


@pytest.mark.parametrize("solver", [DDIM(6), Heun(6, spacing="uniform")], ids=lambda solver: solver.name)
def test_a_node_lies_on_each_breakpoint_of_the_second_child(solver, key):
    guided = of_second_child()
    (points,) = breakpoints(guided)
    np.testing.assert_array_equal(points, TAUS)
    grid = sample_grid(guided, PROCESS, solver, N)
    for sample_, tau in enumerate(TAUS):
        node = np.flatnonzero(np.asarray(grid.times)[:, sample_] == tau)
        assert len(node) == 1 and grid.restarts[node[0], sample_]
    assert np.asarray(grid.restarts).sum() == N
    # 2 start - (start or end): 0 before a sample's own transition point, -1 from it on
    seen = np.asarray([guided(jnp.zeros((N, 2)), row, PAIR)[:, 0] for row in grid.times[:-1]])
    np.testing.assert_array_equal(seen, np.where(np.asarray(grid.times)[:-1] <= TAUS, -1.0, 0.0))


@pytest.mark.parametrize("solver", [DDIM(6), Heun(6)], ids=lambda solver: solver.name)
def test_the_memory_of_the_second_child_is_carried_from_step_to_step(solver, key):
    guided = of_second_child()
    _, memory = drawn(guided, key, solver, PAIR, return_memory=True)
    np.testing.assert_array_equal(memory.children[1].children[0].children[0].own, np.full(N, 6.0))
    assert memory.children[0] == () and memory.own == ()


def test_the_memory_has_the_batch_of_each_child():
    counting = Counting(as_denoiser(labelled))
    guided = guidance.autoguidance(counting, guidance.classifier_free(counting, 4.0, 2.0), 2.0)
    x = jnp.zeros((3, 2))
    memory = initial_memory(guided, x)
    shapes = [leaf.shape for leaf in jax.tree.leaves(memory)]
    assert shapes == [(3,), (6,)]
    _, after = evaluate(guided, x, 0.5, jnp.zeros(3), memory)
    assert jax.tree.structure(after) == jax.tree.structure(memory)
    assert [leaf.tolist() for leaf in jax.tree.leaves(after)] == [[1.0] * 3, [1.0] * 6]


def test_evaluations_are_counted_for_each_network_and_added_up(key):
    """Against callbacks in the denoisers; classifier-free guidance asks for twice the batch."""
    calls = {"main": 0, "weak": 0}

    def counted(name):
        def denoise(x, t, condition):
            jax.debug.callback(lambda x: calls.__setitem__(name, calls[name] + len(x)), x)
            return labelled(x, t, condition)

        return denoise

    guided = guidance.autoguidance(
        guidance.switching(guidance.classifier_free(counted("main"), -1.0, 2.0), 0.5),
        guidance.switching(counted("weak"), TAUS),
        2.0,
    )
    for solver in (DDIM(6), Heun(6)):
        calls.update(main=0, weak=0)
        jax.block_until_ready(drawn(guided, key, solver, PAIR))
        jax.effects_barrier()
        each = evaluations_of_each(guided, PROCESS, solver)
        assert each == (calls["main"] // N, calls["weak"] // N) == (2 * solver.evaluations, solver.evaluations)
        assert evaluations(guided, PROCESS, solver) == 3 * solver.evaluations
    assert evaluations(labelled, PROCESS, DDIM(6)) == 6


def test_of_several_calls_in_one_evaluation_the_memory_of_the_first_is_kept():
    """Each starts from the memory before the evaluation, as the evaluations of one step of a solver do."""

    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Last(Stateful):
        """Remembers the state and returns the one before."""

        def begin(self, x):
            """Zeros."""
            return jnp.zeros_like(x)

        def guide(self, denoise, x, t, condition, memory):
            """The state before."""
            return memory, x

    twice, x = Twice(Last(as_denoiser(labelled))), jnp.asarray([[1.0, 2.0]])
    x0, memory = evaluate(twice, x, 0.5, None, initial_memory(twice, x))
    np.testing.assert_array_equal(x0, [[0.0, 0.0]])
    np.testing.assert_array_equal(memory.children[0].own, x)
    x0, memory = evaluate(twice, 3 * x, 0.4, None, memory)
    np.testing.assert_array_equal(x0, 2 * x)
    np.testing.assert_array_equal(memory.children[0].own, 3 * x)


@pytest.mark.parametrize("jit", [False, True])
def test_a_call_that_a_transformation_would_cut_from_its_memory_is_an_error(jit):
    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class InBranch(Guidance):
        """Calls inside a branch."""

        def guide(self, denoise, x, t, condition):
            """Either way."""
            return jax.lax.cond(jnp.all(t > 0), lambda: denoise(x, t, condition), lambda: x)

    def run(nest, x):
        return nest(x, jnp.float32(0.5), jnp.zeros(1))

    run, x = jax.jit(run) if jit else run, jnp.ones((1, 2))
    with pytest.raises(RuntimeError, match="where_any"):
        run(InBranch(Counting(as_denoiser(labelled))), x)
    np.testing.assert_array_equal(run(InBranch(as_denoiser(labelled)), x), np.zeros((1, 2)))


def test_the_record_of_a_tree_is_the_first_child_s_before_the_second_s(key):
    def recording(radius):
        return guidance.repellency(labelled, PROCESS, np.zeros((1, 2), np.float32), radius=radius, strength=1.0)

    ends = jnp.asarray([0.5, 0.5, 2.0, 2.0])
    for main, weak, acted in (
        (guidance.clipped(recording(1.0)), recording(9.0), [6, 6, 0, 0]),
        (as_denoiser(labelled), recording(9.0), [6, 6, 6, 6]),
    ):
        nest = guidance.autoguidance(main, weak, 2.0)
        _, memory = drawn(nest, key, DDIM(6), ends, return_memory=True)
        np.testing.assert_array_equal(guidance.record(nest, memory, N).acted, acted)
    assert isinstance(initial_memory(nest, jnp.zeros((N, 2))), Memory)
