"""Hard conditions of bridges: observed values, extremes or the order of prices hold exactly in every sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.clipping_policy import ClippingPolicy
from jaxdiff.priors import Prior


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Constrained(Guidance):
    """See `constrained`."""

    prior: Prior

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean, moved to where the condition holds."""
        is_condition = lambda each: isinstance(each, BridgeCondition)  # noqa: E731
        found = [each for each in jax.tree.leaves(condition, is_leaf=is_condition) if is_condition(each)]
        if not found:
            raise InputError(f"`condition` must hold a BridgeCondition, got {type(condition).__name__}")
        # all conditions of a sample, e.g. those between which it is switched, have one x_T
        return self.prior.project(denoise(x, t, condition), found[0].end, found[0].known)


def constrained(denoise: Callable, prior: Prior) -> Constrained:
    """Moves the posterior mean to where the condition of x_T holds exactly, see `jaxdiff.priors.Prior.project`.

    Every posterior mean of a series that satisfies the condition does so too where the condition is convex, as all of these
    are; the network's estimate does only nearly. The last step of a solver that ends at t = 0 ends on the posterior mean, so
    that the sample satisfies the condition exactly. It costs no evaluation. Outermost, it holds whatever guidances do inside.

    Arguments:
        denoise: the denoiser inside, of a bridge with this prior.
        prior: a prior whose `exact` is set; another leaves the posterior mean as it is.
    """
    return Constrained(as_denoiser(denoise), prior)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExactConditions(ClippingPolicy):
    """The policy of bridges with hard conditions: both the network's mean and the guided one satisfy them.

    Attributes:
        prior: of the bridge.
    """

    prior: Prior

    def network(self, denoise: Callable) -> Callable:
        """The denoiser, constrained."""
        return constrained(denoise, self.prior)

    def guided(self, denoise: Callable) -> Callable:
        """The denoiser, constrained."""
        return constrained(denoise, self.prior)
