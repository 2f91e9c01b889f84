"""The option --target, which several methods have."""

from dataclasses import dataclass
from typing import Any

from jaxdiff.bounds import Share

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class WithTarget(Method):
    """A method with target shares of the values."""

    target: tuple[Share, ...] = ()
    """Target share of each value, in the order of --values; by default equal."""

    def target_shares(self, plan: Any) -> tuple[float, ...]:
        """The target share of each value."""
        return self.target or plan.equal
