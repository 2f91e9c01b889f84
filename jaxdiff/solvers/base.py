"""The interface of solvers: their properties, and one pure step."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxdiff.process import Process, expand
from jaxdiff.solvers import grid

Count = TypeVar("Count", int, Array)


class Node(NamedTuple):
    """Where a step starts and ends.

    Attributes:
        t: the time of the state, (B,), above 0.
        t_next: the time after the step, (B,), below `t`.
        restart: (B,) whether the denoiser is discontinuous at `t`, so that the history is invalid.
    """

    t: Float[Array, " b"]
    t_next: Float[Array, " b"]
    restart: Bool[Array, " b"]


class State(NamedTuple):
    """The state of the sampling loop.

    Attributes:
        x: the states (B, ...).
        history: the solver's record of previous steps.
        memory: the memory of stateful guidances.
    """

    x: Array
    history: Any
    memory: Any = ()


@dataclass(frozen=True)
class Solver(ABC):
    """A solver, as data.

    Arguments:
        steps: number of steps, at least 1.
        spacing: the spacing of the nodes, one of `jaxdiff.choices.SPACINGS`.
        offset: added to every timestep of a `leading` spacing, diffusers' `steps_offset`.
        end: the last node, one of `jaxdiff.choices.ENDS`.

    Attributes:
        name: its name on the command line.
        order: the order of convergence; for a stochastic solver the weak order.
    """

    name: ClassVar[str]
    order: ClassVar[int]

    steps: int
    spacing: str = "uniform"
    offset: int = field(default=0, kw_only=True)
    end: str = field(default="data", kw_only=True)

    def __post_init__(self):
        grid.check(self.spacing, self.steps, self.offset, self.end)

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return False

    @property
    def follows_reverse_sde(self) -> bool:
        """Whether its steps solve the reverse SDE alone, whose drift is linear in the posterior mean and free of x_T.

        Only such a solver draws the data with a denoiser of a bridge that does not see x_T.
        """
        return False

    @property
    def reversible(self) -> bool:
        """Whether its steps can be taken from data to noise, see `jaxdiff.probability_flow.encode`."""
        return False

    @property
    def evaluations(self) -> int:
        """Evaluations of the denoiser in a whole run."""
        return self.evaluations_after(0)

    def evaluations_after(self, done: Count) -> Count:
        """Evaluations of the denoiser in the steps that remain after `done` of them."""
        return self.steps - done

    def config(self) -> dict[str, Any]:
        """Name and parameters, JSON-ready; `offset` and `end` only where they are not the defaults."""
        given = asdict(self)
        for name, default in (("offset", 0), ("end", "data")):
            if given[name] == default:
                del given[name]
        return {"name": self.name, **given}

    def times(self, process: Process) -> Float[Array, " s"]:
        """The nodes, decreasing to the end."""
        return grid.nodes(self.spacing, self.steps, process, self.offset, self.end)

    def check(self, process: Process) -> None:
        """Raises `InputError` where this solver cannot run on this process."""
        jax.eval_shape(self.times, process)

    def history(self, x: Array) -> Any:
        """The history before the first step, a pytree of arrays."""
        return ()

    @abstractmethod
    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """One step, to the state at `node.t_next`.

        Arguments:
            process: the forward process.
            denoise: the posterior mean as a function of (x, t); its condition is fixed.
            x: the state (B, ...).
            node: where the step starts and ends.
            noise: standard normal of the shape of x, as a function of 0, 1, ...: fresh for each.
            history: as returned by the previous step.
        """


def posterior_noise(process: Process, x0: Array, x: Array, t: Array) -> Array:
    """E[eps | x_t = x], from the posterior mean of x_0."""
    return process.from_x0("eps", x0, x, t)


def fresh_share(process: Process, t: Array, t_next: Array, x: Array) -> Array:
    """1 - SNR(t) / SNR(t_next): the fraction of the noise variance at t_next not determined by x_t and x_0; 1 at t_next = 0."""
    # in a step of no length, rounding may make the difference positive
    return expand(-jnp.expm1(jnp.minimum(process.log_snr(t) - process.log_snr(t_next), 0.0)), x)


def half_log_snr(process: Process, t: Array, x: Array) -> Array:
    """log(alpha / sigma), the time in which the multistep solvers extrapolate, to broadcast against x."""
    return expand(0.5 * process.log_snr(t), x)
