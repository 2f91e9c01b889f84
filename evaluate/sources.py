"""What the commands ask of the sources that they open."""

from collections.abc import Iterable

from jaxdiff.data import Source
from jaxdiff.errors import InputError


def require_one_size(sources: Iterable[Source]) -> None:
    """Raises `InputError` unless the first images of all sources that have any share one size."""
    sizes = {source.name: "x".join(map(str, source.image(0).shape[:2])) for source in sources if len(source)}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise InputError(f"images must have one size: {told}; --size resizes them")
