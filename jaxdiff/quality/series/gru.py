"""The recurrent network of the discriminative and predictive scores, and its training."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.models.network import Network

BATCH = 128
"""Windows of each set in a step."""
RATE = 1e-3
"""The learning rate of Adam."""

Loss = Callable[[Network, Any, Any], Array]


class GRU(nnx.Module):
    """A gated recurrent unit with one output a step (Cho et al. 2014, arXiv 1406.1078, equations 5 to 8).

        [r, u] = σ(W [x_t, h_{t-1}] + b),   c = tanh(V [x_t, r ⊙ h_{t-1}] + d),   h_t = u ⊙ h_{t-1} + (1 - u) ⊙ c

    The reset gate r acts before the product with V, as in the unit of TensorFlow 1 that published scores use; PyTorch and Flax
    have it after. Kernels are uniform by Glorot, b is 1, and other biases are 0, as there.

    Arguments:
        features: F of the input.
        hidden: H, the length of the state.
        key: of the kernels.
    """

    def __init__(self, features: int, hidden: int, key: PRNGKeyArray):
        gates, candidate, head = jax.random.split(key, 3)
        glorot = nnx.initializers.glorot_uniform()
        self.gates = nnx.Param(glorot(gates, (features + hidden, 2 * hidden)))
        self.gates_bias = nnx.Param(jnp.ones(2 * hidden))
        self.candidate = nnx.Param(glorot(candidate, (features + hidden, hidden)))
        self.candidate_bias = nnx.Param(jnp.zeros(hidden))
        self.head = nnx.Param(glorot(head, (hidden, 1)))
        self.head_bias = nnx.Param(jnp.zeros(1))

    def __call__(self, x: Float[Array, "b l f"]) -> Float[Array, "b l"]:
        """The output of every step, from the state 0."""
        gates, candidate = self.gates[...].T, self.candidate[...].T
        gates_bias, candidate_bias = self.gates_bias[...][:, None], self.candidate_bias[...][:, None]

        # windows come last, since there are more of them than features, and vector instructions take the last axis
        def step(state, now):
            both = jax.nn.sigmoid(gates @ jnp.concatenate([now, state]) + gates_bias)
            reset, update = jnp.split(both, 2)
            proposed = jnp.tanh(candidate @ jnp.concatenate([now, reset * state]) + candidate_bias)
            state = update * state + (1 - update) * proposed
            return state, state

        start = jnp.zeros((len(candidate), len(x)), x.dtype)
        _, states = jax.lax.scan(step, start, jnp.transpose(x, (1, 2, 0)))
        return jnp.einsum("lhb,h->bl", states, self.head[...][:, 0]) + self.head_bias[...]


def gru(features: int, hidden: int, key: PRNGKeyArray) -> Network:
    """A `GRU` with random weights."""
    structure, weights = nnx.split(GRU(features, hidden, key), nnx.Param)
    return Network(nnx.to_pure_dict(weights), structure)


def hidden_size(features: int) -> int:
    """The length of the state for windows of F features: F / 2 rounded down, at least 1."""
    return max(features // 2, 1)


def batches(generator: np.random.Generator, count: int, *, iterations: int, batch: int) -> Int[np.ndarray, "iterations batch"]:
    """The windows of each step: drawn without replacement within a step, and anew for each; all of them where they are fewer.

    Arguments:
        generator: of the draws.
        count: windows to draw from.
        iterations, batch: steps, and windows in each.
    """
    taken = min(batch, count)
    return np.stack([generator.choice(count, taken, replace=False) for _ in range(iterations)]).astype(np.int32)


def fitted(features: int, *, hidden: int, seed: int, loss: Loss, data: Any, chosen: Sequence[Any]) -> Network:
    """Networks after training, one for each repeat, whose weights have a leading axis of repeats.

    Adam with `RATE`. All steps of all repeats are one compiled program.

    Arguments:
        features: of the network's input.
        hidden: the length of its state.
        seed: of the initial weights, which differ by repeat.
        loss: a function of (network, data, indices of a step), defined at the top of a module so that it is compiled once.
        data: a pytree of arrays.
        chosen: of each repeat a pytree of the indices of each step, with a leading axis of steps.
    """
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), repeat) for repeat in range(len(chosen))])
    return _fit(features, hidden, loss, keys, data, jax.tree.map(lambda *each: np.stack(each), *chosen))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _fit(features, hidden, loss, keys, data, chosen):
    optimiser = optax.adam(RATE)

    def train(key, chosen):
        network = gru(features, hidden, key)

        def step(state, indices):
            weights, moments = state
            slope = jax.grad(lambda weights: loss(Network(weights, network.structure), data, indices))(weights)
            change, moments = optimiser.update(slope, moments)
            return (optax.apply_updates(weights, change), moments), None

        (weights, _), _ = jax.lax.scan(step, (network.weights, optimiser.init(network.weights)), chosen)
        return Network(weights, network.structure)

    return jax.vmap(train)(keys, chosen)


@jax.jit
def outputs(networks: Network, windows: Float[Array, "..."]) -> Float[Array, "r b l"]:
    """The output of each of R networks, for the same windows (B, L, F) or for windows of its own (R, B, L, F)."""
    if windows.ndim == 3:
        return jax.lax.map(lambda network: network(windows), networks)
    return jax.lax.map(lambda both: both[0](both[1]), (networks, windows))


def check_training(iterations: int, batch: int) -> None:
    """Raises `InputError` for no steps or empty batches."""
    if min(iterations, batch) < 1:
        raise InputError(f"`iterations` and `batch` must be at least 1, got {iterations} and {batch}")
