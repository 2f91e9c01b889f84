"""Options of how data are read, which several programs share, and what is printed of the data sets that were read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxdiff._console import arguments
from jaxdiff.data.readers import PLACES

if TYPE_CHECKING:
    from jaxdiff.data import Source

    Layout = str
else:
    Layout = Literal[tuple(PLACES)]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How labelled data are read."""

    value_names: tuple[str, ...] = ()
    """Names of the values of attributes of the data: gender=male,female for the codes 0, 1, ..., or race=1:White,2:Black with
    codes. A backslash makes a comma or colon part of a name."""
    layout: Layout | None = None
    """Layout of the data; by default recognised from its content and printed."""
    range: tuple[float, float] | None = None
    """Values of floating-point images that are black and white, such as -1 1; by default inferred and printed."""

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments `value_names`, `layout` and `range` of `open_data`. Raises `InputError` for invalid names."""
        return {"value_names": arguments.value_names(self.value_names), "layout": self.layout, "range": self.range}


def open_with(spec: str, names: Sequence[str], **options: Any) -> "Source":
    """Opens a data set with every attribute that all of its images have, and the named ones: images without a value of these
    are left out, as a note says.

    Arguments:
        spec: the data set.
        names: attributes that are needed; empty takes a data set without labels, or with missing ones, too.
        options: further arguments of `open_data`.

    Raises:
        InputError: see `open_data`; the data set lacks a named attribute.
    """
    from jaxdiff.data import open_data
    from jaxdiff.data.columns import Incomplete

    try:
        source = open_data(spec, **options)
        known = [attribute.name for attribute in source.attributes]
        if set(names) <= set(known):
            return source
    except Incomplete:
        known = []
    return open_data(spec, attributes=[*known, *(name for name in names if name not in known)], **options)


def show_data(source: "Source") -> None:
    """Prints what was understood of a data set."""
    from rich.markup import escape

    from jaxdiff._console.terminal import console
    from jaxdiff.data import describe

    console.print(escape(describe(source)), highlight=False, soft_wrap=True)
