"""The data sets of an evaluation, each of which is read once."""

from collections.abc import Mapping, Sequence

from jaxdiff.data import DataSet, Source
from jaxdiff.data.columns import ValueNames

from .options.fairness import Fairness


class DataSets:
    """The data sets of the options of `fairness`, as these read them: --layout and --range are those of --real, and
    --value-names is for sets that do not name their values themselves.

    Arguments:
        options: the options.
    """

    def __init__(self, options: Fairness):
        self._options = options
        self._opened: dict[str, DataSet] = {}

    def opened(self, spec: str) -> DataSet:
        """The data set, which is read when a source is first taken of it."""
        if spec not in self._opened:
            own = spec == self._options.real
            self._opened[spec] = self._options.opened(spec) if own else DataSet(spec, links=self._options.follow_links)
        return self._opened[spec]

    def source(self, spec: str, split: str, names: Sequence[str] | None = None) -> Source:
        """A split of a set with the named attributes; None takes the evaluated one and all that every image has, under their
        own names of values."""
        named = [self._options.attribute] if names is None else names
        taken = {"split": split, **self._options.image_format, "value_names": self.value_names(spec, named)}
        found = self.opened(spec)
        return found.take_with(named, **taken) if names is None else found.take(attributes=names, **taken)

    def evaluated(self, spec: str, split: str) -> Source:
        """The images of a split that have a value of the evaluated attribute, with this attribute."""
        return self.source(spec, split, [self._options.attribute])

    def value_names(self, spec: str, names: Sequence[str] | None = None) -> Mapping[str, ValueNames] | None:
        """The names of values of these attributes, or of all, that a set does not name itself."""
        given = {} if self.opened(spec).names_values else self._options.reading["value_names"] or {}
        return {name: values for name, values in given.items() if names is None or name in names} or None
