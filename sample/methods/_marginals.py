"""The base class of methods that give other attributes shares of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from jaxdiff.errors import InputError

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class WithMarginals(Method):
    """A method with shares of other attributes."""

    marginals: tuple[str, ...] = ()
    """Shares of the values of other attributes, each as glasses=0.7,0.3; by default equal, and with `distribution` those of the
    classifiers' training data."""

    def __post_init__(self):
        super().__post_init__()
        if len(self._given) < len(self.marginals):
            raise InputError(f"--marginals takes each attribute once, got {' '.join(self.marginals)}")

    @cached_property
    def _given(self) -> Mapping[str, tuple[float, ...]]:
        """The shares given for attributes, by name."""
        return dict(map(_parsed, self.marginals))

    def completed(self, default: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        """The shares of each of these attributes, by name: as given, or these.

        Raises:
            InputError: --marginals names another attribute, or has another number of values.
        """
        for name, shares in self._given.items():
            if len(shares) != len(default.get(name, ())):
                takes = ", ".join(f"{other} ({len(each)} values)" for other, each in default.items())
                raise InputError(f"--marginals takes shares of {takes}; got {len(shares)} of {name!r}")
        return {**default, **self._given}


def _parsed(text: str) -> tuple[str, tuple[float, ...]]:
    """The name and the shares of `glasses=0.7,0.3`."""
    name, _, listed = text.partition("=")
    try:
        shares = tuple(map(float, listed.split(",")))
    except ValueError:
        shares = ()
    if not name or not shares or not all(share >= 0 for share in shares) or not abs(sum(shares) - 1) < 1e-6:
        raise InputError(f"--marginals takes shares of at least 0 that sum to 1, as glasses=0.7,0.3; got {text}")
    return name, shares
