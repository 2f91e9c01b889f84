"""The condition of series models, of bridges and of diffusion models alike."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float


class BridgeCondition(NamedTuple):
    """What a denoiser of series takes besides x_t and t. A part that is None is no leaf of the tree.

    Attributes:
        end: x_T, the end of the bridge, on the scale of the process, (B, L, F); None for a diffusion model.
        known: which entries of x_T are observed values, (B, L, F); None if the denoiser does not take it.
        labels: a value of each attribute, or -1 for the null label, integers (B, A); or their weights, (B, W), see
            `jaxdiff.models.labels`. None for a model without attributes.
    """

    end: Float[Any, "b l f"] | None = None
    known: Bool[Any, "b l f"] | None = None
    labels: Any = None
