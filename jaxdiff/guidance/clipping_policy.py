"""Clipping policies: how posterior means are kept in the range of the data. Each space has one.

A policy acts in two places. `network` is applied to the posterior mean of a network, which leaves the range only by its error.
`guided` is applied outermost, to the input of the solver, where a guidance may have extrapolated out of the range.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from jaxdiff.denoiser import as_denoiser
from jaxdiff.guidance.clipping import clipped
from jaxdiff.guidance.thresholding import PERCENTILE, dynamic_thresholding


class ClippingPolicy(ABC):
    """How posterior means are kept in the range of the data. Subclasses are registered pytrees."""

    @abstractmethod
    def network(self, denoise: Callable) -> Callable:
        """The denoiser of a network, kept in the range."""

    @abstractmethod
    def guided(self, denoise: Callable) -> Callable:
        """A guided denoiser, kept in the range; applied outermost, for the solver."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Clip(ClippingPolicy):
    """Clips both the network's mean and the guided one to [low, high], see `clipped`: for pixels.

    Attributes:
        low: lower end of the data's range.
        high: upper end.
    """

    low: float | Array = -1.0
    high: float | Array = 1.0

    def network(self, denoise: Callable) -> Callable:
        """The denoiser, clipped."""
        return clipped(denoise, self.low, self.high)

    def guided(self, denoise: Callable) -> Callable:
        """The denoiser, clipped."""
        return clipped(denoise, self.low, self.high)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Unbounded(ClippingPolicy):
    """Leaves both unchanged: for latents and series, which have no range."""

    def network(self, denoise: Callable) -> Callable:
        """The denoiser itself."""
        return as_denoiser(denoise)

    def guided(self, denoise: Callable) -> Callable:
        """The denoiser itself."""
        return as_denoiser(denoise)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DynamicThresholding(ClippingPolicy):
    """Rescales the guided mean alone, see `dynamic_thresholding`: for pixels in [-1, 1] under strong guidance.

    The network's own mean is unchanged, since thresholding has no effect on a clipped mean. So `guided` must be applied to
    every denoiser that is sampled, also without a guidance.

    Attributes:
        percentile: in [0, 100], of the absolute values of a sample; otherwise `guided` raises `InputError`.
    """

    percentile: float | Float[Array, ""] = PERCENTILE

    def network(self, denoise: Callable) -> Callable:
        """The denoiser itself."""
        return as_denoiser(denoise)

    def guided(self, denoise: Callable) -> Callable:
        """The denoiser, thresholded."""
        return dynamic_thresholding(denoise, self.percentile)
