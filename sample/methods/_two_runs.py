"""The base class of methods that draw in two runs of the solver."""

from dataclasses import dataclass
from typing import Any

from ..registry import Method, Modifier


@dataclass(frozen=True, kw_only=True)
class TwoRuns(Method):
    """A method whose second run starts from the samples of the first."""

    def refuses(self, modifier: Modifier) -> str | None:
        """Guards."""
        return (
            "--unsafe and --guard need a method that draws in a single run of the solver" if modifier.slot == "guard" else None
        )

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The image's own condition; that of the first run has the same structure."""
        return plan.own(ends)

    def second(self, key: Any) -> Any:
        """The key of the second run, one for all or one for each image."""
        import jax

        again = jax.random.fold_in if key.ndim == 0 else jax.vmap(jax.random.fold_in, (0, None))
        return again(key, 1)
