"""Random masks of observed entries."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

RUN = 3.0  # mean length of a run of missing values (Zerveas et al. 2021)


def points(key: PRNGKeyArray, shape: tuple[int, ...], missing: Array | float) -> Bool[Array, "l f"]:
    """Entries observed independently, each missing with the probability `missing`; one of each feature is observed at least."""
    drawn = jax.random.uniform(key, shape)
    return (drawn >= missing) | (drawn == drawn.max(0))


def chain(key: PRNGKeyArray, shape: tuple[int, ...], missing: Array | float, mean_length: float = RUN) -> Bool[Array, "l f"]:
    """Runs of missing values of geometric length, independent for each feature: a stationary two-state Markov chain over time.

    A run ends at each step with probability 1 / m, and one begins so often that each entry is missing with the probability
    `missing`, which is possible up to m / (m + 1).

    Arguments:
        key: a key.
        shape: (L, F).
        missing: the share of missing entries.
        mean_length: m, at least 1.
    """
    end = 1 / mean_length
    begin = jnp.minimum(end * missing / (1 - missing), 1.0)
    first_key, next_key = jax.random.split(key)

    def step(observed, uniform):
        observed = jnp.where(observed, uniform >= begin, uniform < end)
        return observed, observed

    start = jax.random.uniform(first_key, shape[1:]) >= missing
    return jax.lax.scan(step, start, jax.random.uniform(next_key, shape))[1]


def runs(key: PRNGKeyArray, shape: tuple[int, ...], missing: Array | float) -> Bool[Array, "l f"]:
    """Runs of missing values with mean length 3, see `chain`; at least one entry of each feature is observed."""
    observed, drawn = chain(key, shape, missing), jax.random.uniform(jax.random.split(key)[1], shape)
    return observed | (~observed.any(0) & (drawn == drawn.max(0)))


def past(key: PRNGKeyArray, shape: tuple[int, ...], missing: Array | float) -> Bool[Array, "l f"]:
    """All features observed up to a time and none after it, so that about this share is missing: the mask of a forecast."""
    del key
    first = jnp.clip(jnp.round(shape[0] * (1 - missing)), 1, shape[0] - 1)
    return jnp.broadcast_to(jnp.arange(shape[0])[:, None] < first, shape)


def mixed(key: PRNGKeyArray, shape: tuple[int, ...], least: float, most: float) -> Bool[Array, "l f"]:
    """One of the three masks, each with probability 1/3, with a missing share uniform between `least` and `most`."""
    kind_key, share_key, mask_key = jax.random.split(key, 3)
    missing = jax.random.uniform(share_key, (), minval=least, maxval=most)
    options = [lambda key, make=make: make(key, shape, missing) for make in (points, runs, past)]
    return jax.lax.switch(jax.random.randint(kind_key, (), 0, 3), options, mask_key)
