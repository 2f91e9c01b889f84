"""Options of how data are read, which several programs share, and what is printed of the data sets that were read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxdiff._console import arguments
from jaxdiff.bounds import Finite
from jaxdiff.data.readers import READER_MODULES

if TYPE_CHECKING:
    from jaxdiff.data import DataSet, Source

    Layout = str
else:
    Layout = Literal[tuple(READER_MODULES)]


@dataclass(frozen=True, kw_only=True)
class Reading(arguments.CheckedOptions):
    """How labelled data are read."""

    value_names: tuple[str, ...] = ()
    """Names of the values of attributes of the data: gender=male,female for the codes 0, 1, ..., or race=1:White,2:Black with
    codes. A backslash makes a comma or colon part of a name."""
    layout: Layout | None = None
    """Layout of the data (of `evaluate`: of the real or training images alone); by default recognised from its content and
    printed."""
    range: tuple[Finite, Finite] | None = None
    """Values that are black and white in floating-point images, such as -1 1 (of `evaluate`: in the real or training images
    alone); by default inferred and printed."""

    follow_links: bool = False
    """Follow symbolic links in folders of data that lead out of them; by default an error, since a folder from elsewhere could
    point to any file that you can read."""

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments `value_names`, `layout`, `range` and `links` of `open_data`. Raises `InputError` for invalid names."""
        names = arguments.value_names(self.value_names)
        return {"value_names": names, "layout": self.layout, "range": self.range, "links": self.follow_links}

    def opened(self, spec: str) -> "DataSet":
        """A data set, read as these options say; the names of values are given where a source is taken of it."""
        from jaxdiff.data import DataSet

        return DataSet(spec, layout=self.layout, range=self.range, links=self.follow_links)


def show_data(source: "Source") -> None:
    """Prints what was understood of a data set; arguments of `open_data` are named as options."""

    from jaxdiff._console.terminal import console
    from jaxdiff.data import describe

    described = describe(source).replace("`layout`", "--layout")
    console.print(described, highlight=False, soft_wrap=True)
