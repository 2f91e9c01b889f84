"""What all guidances share: they wrap a denoiser and name the times at which they are discontinuous."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Array


@dataclass(frozen=True)
class Guidance:
    """A denoiser made from a denoiser. Subclasses are registered pytrees and define `__call__(x, t, condition)`.

    Attributes:
        denoiser: the denoiser inside, which may be a guidance itself.
    """

    denoiser: Callable

    def own_breakpoints(self) -> tuple[Array, ...]:
        """Times, of shape () or (B,), at which this guidance is discontinuous in t; the solver puts a node on each."""
        return ()


def breakpoints(denoiser: Callable) -> tuple[Array, ...]:
    """All breakpoints of a nest of guidances, the outermost first; () for a denoiser that is none."""
    found: tuple[Array, ...] = ()
    while isinstance(denoiser, Guidance):
        found += denoiser.own_breakpoints()
        denoiser = denoiser.denoiser
    return found
