"""The shares of the values that several methods take."""

from dataclasses import dataclass
from typing import Any

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class WithTarget(Method):
    """A method that leads to wanted shares of the values."""

    target: tuple[float, ...] = ()
    """The shares of the values that are wanted; by default equal."""

    def wanted(self, plan: Any) -> tuple[float, ...]:
        """The wanted shares."""
        return self.target or plan.equal
