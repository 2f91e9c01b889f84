"""The options of methods that draw values by a fair table."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxdiff.errors import InputError

from ..registry import Method

NO_SEARCH = (
    "no search finds tau for values that a fair table draws; draw a set at each of several, `jaxdiff sample draw --method "
    "switching --start none --fair-table TABLE --tau 0.6 0.7 0.8 0.9`, and compare their shares with those of the table, "
    "`jaxdiff evaluate prompts --fair-table TABLE`"
)
"""Why no search takes a fair table, and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class WithTable(Method):
    """A method that takes a fair table: values of attributes, drawn for the prompts that mention a concept."""

    fair_table: str | None = None
    """Text-to-image models: lookup table of Fair Diffusion, a file of TOML or the name of one that comes with jaxdiff, embedded
    or occupations: the attributes of each concept, with the shares of their values. See the documentation on text-to-image."""
    assignment: Literal["balanced", "iid"] = "balanced"
    """balanced: values in exactly the shares of --target or --fair-table; iid: the value of each image drawn independently."""

    def ends(self, plan: Any, count: int) -> Any:
        """Prompts in turn, with values in the shares of the table."""
        if plan.fair is None:
            return super().ends(plan, count)
        return plan.fair.assign(count, seed=plan.seed, mode=self.assignment)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options used, without the name of the table, whose content is in the provenance."""
        return {name: value for name, value in super().settings(plan).items() if name != "fair_table"}

    def provenance(self, chosen: Any) -> dict[str, Any]:
        """The shares of the table's concepts, with those of other methods of this kind."""
        shares = {} if chosen.fair is None else {"shares_of_concepts": chosen.fair.shares()}
        return {**super().provenance(chosen), **shares}


@dataclass(frozen=True, kw_only=True)
class NeedsTable(WithTable):
    """A method that needs a fair table."""

    def check(self, sampling: Any) -> None:
        """Raises `InputError` without a table."""
        if self.fair_table is None:
            raise InputError(f"{self.spelled()} needs --fair-table, a file or one of embedded, occupations")
