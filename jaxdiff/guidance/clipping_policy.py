"""Clipping policies: what keeps posterior means in the range of the data. A space of data holds one, and nobody else decides.

A policy acts in two places. `network` is applied to the posterior mean that a network returns, which leaves the range by its
error alone. `guided` is applied, outermost, to what the solver sees, where a guidance may have extrapolated out of the range.
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
    """What is done to posterior means that leave the range of the data. Subclasses are registered pytrees."""

    @abstractmethod
    def network(self, denoise: Callable) -> Callable:
        """The denoiser of a network, its posterior mean kept in the range."""

    @abstractmethod
    def guided(self, denoise: Callable) -> Callable:
        """A denoiser with guidances that extrapolate, its posterior mean kept in the range: outermost, for the solver."""


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
    """Leaves both as they are: for latents and series, which have no range."""

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

    The network's own mean stays as it is, since thresholding does nothing to a mean that is clipped already: so every denoiser
    that is sampled goes through `guided`, without a guidance too.

    Attributes:
        percentile: in [0, 100], of the sizes of the entries of a sample; `guided` raises `InputError` for another.
    """

    percentile: float | Float[Array, ""] = PERCENTILE

    def network(self, denoise: Callable) -> Callable:
        """The denoiser itself."""
        return as_denoiser(denoise)

    def guided(self, denoise: Callable) -> Callable:
        """The denoiser, thresholded."""
        return dynamic_thresholding(denoise, self.percentile)
