"""Labels of images as conditions of a model."""

import numpy as np
from jaxtyping import Float, Int32

from jaxdiff.data import Source, find
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.models.labels import NULL


def require_condition(model: Model, source: Source, *, own: bool) -> None:
    """Checks that a model can evaluate the images of a source.

    Arguments:
        model: the model; an unconditional one takes any images.
        source: the images.
        own: whether the condition is the labels of the images, or else the null label.

    Raises:
        InputError: with own labels, the source lacks an attribute of the model or has other values of it; without,
            the model has no null label.
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
    """The condition of each image of a source, (N, W): its own labels, or the null label; None for an unconditional model.

    Arguments:
        model, source, own: as for `require_condition`.
        labels: labels of the images.
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


def require_finite(values: Float[np.ndarray, " n"], what: str) -> None:
    """Raises `InputError` for NaN or infinity in what a model returned for images; `what` names the images."""
    if len(bad := np.flatnonzero(~np.isfinite(values))):
        raise InputError(f"the model returned NaN or infinity on {len(bad)} {what}, the first of them number {bad[0]}")
