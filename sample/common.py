"""What searching and drawing share: the model, the solver, the pair of conditions, and the context that tau is tied to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff import guidance
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.models.labels import NULL
from jaxdiff.solvers import DDIM


@dataclass(frozen=True)
class Setting:
    """A model with the way it is sampled.

    Attributes:
        model: the model.
        attribute: the sensitive attribute.
        column: its position among the model's attributes.
        pair: the two values of it that are sampled, as labels.
        solver: the solver.
        scale: the scale of classifier-free guidance; 1 is none.
    """

    model: Model
    attribute: Attribute
    column: int
    pair: tuple[int, int]
    solver: DDIM
    scale: float

    @property
    def denoise(self) -> Callable:
        """The model's denoiser, guided where the scale isn't 1, which takes weights as conditions."""
        if self.scale == 1:
            return self.model.denoise
        return guidance.clipped(guidance.classifier_free(self.model.denoise, self.condition(np.array([NULL]))[0], self.scale))

    def labels(self, values: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b a"]:
        """Label rows with these values of the attribute, and the null label for the model's other attributes."""
        rows = np.full((len(values), len(self.model.attributes)), NULL, np.int32)
        rows[:, self.column] = values
        return rows

    def condition(self, values: Int[np.ndarray, " b"]) -> Float[Array, "b w"]:
        """The condition for these values of the attribute."""
        return self.model.encode(jnp.asarray(self.labels(values)))

    def context(self) -> dict[str, Any]:
        """What a transition point is tied to."""
        return {
            "model": self.model.fingerprint,
            "process": self.model.process.config(),
            "solver": self.solver.config(),
            "guidance_scale": self.scale,
            "attribute": self.attribute.name,
            "pair": [self.attribute.values[value] for value in self.pair],
        }


def setting(path, attribute: str | None, values: tuple[str, ...], steps: int, eta: float, scale: float) -> Setting:
    """Loads the model and makes sure that the options fit it, before any compute."""
    if scale < 0:
        raise InputError(f"--guidance-scale must be at least 0, got {scale}")
    solver = DDIM(steps, eta)
    model = load(path)
    if not model.attributes:
        raise InputError(f"the model at {path} is unconditional; switching needs a model trained with --attributes")
    if attribute is None and len(model.attributes) > 1:
        known = ", ".join(known.name for known in model.attributes)
        raise InputError(f"the model has several attributes: choose with --attribute, one of {known}")
    column, found = model.attribute(attribute or model.attributes[0].name)
    if not values:
        if len(found.values) != 2:
            raise InputError(
                f"attribute {found.name!r} has {len(found.values)} values; "
                f"choose two with --values, of {', '.join(found.values)}"
            )
        values = found.values
    if len(values) != 2 or values[0] == values[1]:
        raise InputError(f"--values takes two different values of {found.name!r}, got {' '.join(values)}")
    return Setting(model, found, column, (found.index(values[0]), found.index(values[1])), solver, float(scale))
