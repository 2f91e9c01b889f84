"""Images of labelled sources as a model's conditions."""

import numpy as np
from jaxtyping import Float, Int32

from jaxdiff.data import Source, find
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.models.labels import NULL


def require_condition(model: Model, source: Source, *, own: bool) -> None:
    """Makes sure that a model can be asked about a source's images.

    Arguments:
        model: the model; of an unconditional one there is nothing to make sure of.
        source: the images.
        own: whether images are under their own labels, or under no label.

    Raises:
        InputError: under their own labels, where the source lacks an attribute of the model or has values of it that the model
            does not know; under no label, where the model has no null label.
    """
    if own:
        _require_values(model, source)
    else:
        _ = model.conditions.null


def _require_values(model: Model, source: Source) -> None:
    names = [attribute.name for attribute in source.attributes]
    for attribute in model.conditions.attributes:
        if attribute.name not in names:
            raise InputError(
                f"the model is conditioned on {attribute.name!r}, the attributes of {source.name} are "
                f"{', '.join(names) or 'none'}; --condition null takes any images"
            )
        values = source.attributes[find(source.attributes, attribute.name)].values
        if unknown := [value for value in values if value not in attribute.values]:
            raise InputError(
                f"attribute {attribute.name!r} of {source.name} has the values {', '.join(unknown)}, the model's has "
                f"{', '.join(attribute.values)}; --value-names names integer labels, --condition null takes any images"
            )


def conditions(model: Model, source: Source, labels: Int32[np.ndarray, "n a"], *, own: bool) -> np.ndarray | None:
    """The condition of each image of a source, (N, W): its own labels, or none; None for an unconditional model.

    Arguments:
        model, source, own: as `require_condition` takes them.
        labels: of its images.
    """
    if not model.conditions.attributes:
        return None
    rows = np.full((len(labels), len(model.conditions.attributes)), NULL, np.int32)
    if own:
        for column, attribute in enumerate(model.conditions.attributes):
            position = find(source.attributes, attribute.name)
            codes = [attribute.index(value) for value in source.attributes[position].values]
            rows[:, column] = np.array(codes)[labels[:, position]]
    return np.asarray(model.conditions.encode(rows))


def require_finite(values: Float[np.ndarray, " n"], told: str) -> None:
    """Raises `InputError` for NaN or infinity among what a model said of images; `told` is what they are called."""
    if len(bad := np.flatnonzero(~np.isfinite(values))):
        raise InputError(f"the model returned NaN or infinity on {len(bad)} {told}, the first of them number {bad[0]}")
