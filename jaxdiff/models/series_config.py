"""The configuration of the transformer of series."""

from dataclasses import dataclass
from typing import Annotated, Any

from jaxdiff.bounds import Bounds, check_bounds
from jaxdiff.errors import InputError
from jaxdiff.models.config import MOST_BLOCKS, MOST_CHANNELS, MOST_CLASSES, Width
from jaxdiff.models.unet_condition_config import check_dtype, settings_of

LEAST_LENGTH = 4
"""Steps of the shortest window, which has one frequency between the mean and the Nyquist frequency."""
Layers = Annotated[int, Bounds(least=1, limit=MOST_BLOCKS)]


@dataclass(frozen=True)
class SeriesConfig:
    """The configuration of a transformer of series.

    Arguments:
        length: time steps L of a window, at least 4.
        features: features F of a time step.
        width: channels of the hidden states, even and at least 4.
        heads: attention heads of a layer, a divisor of the width.
        encoder: blocks of the encoder.
        decoder: blocks of the decoder, each of which adds to the trend and to the season.
        values: number of values of each attribute that conditions the network; empty for none.
        null_label: whether the null label has an embedding; otherwise it adds nothing to the time embedding.
        end_input: whether x_T, the end of the bridge, is an input of the network.
        known_input: whether the mask of the observed entries of x_T is an input too.
        dtype: dtype of the computation, `float32` or `bfloat16`; parameters, norms, trend and season are always float32.
    """

    length: Annotated[int, Bounds(least=LEAST_LENGTH, limit=MOST_CHANNELS)]
    features: Width
    width: Annotated[int, Bounds(least=4, limit=MOST_CHANNELS)] = 64
    heads: Width = 4
    encoder: Layers = 1
    decoder: Layers = 2
    values: tuple[Annotated[int, Bounds(least=1, limit=MOST_CLASSES)], ...] = ()
    null_label: bool = True
    end_input: bool = False
    known_input: bool = False
    dtype: str = "float32"

    def __post_init__(self):
        check_bounds(self)
        if self.width % 2:
            raise InputError(f"`width` must be even, half of the time features being sines; got {self.width}")
        if self.width % self.heads:
            raise InputError(f"`heads` must divide the width {self.width}, got {self.heads}")
        check_dtype(self.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of one window, (L, F)."""
        return (self.length, self.features)

    @property
    def season_kernel(self) -> int:
        """Time steps of the circular convolution from channels to the season of each feature: 1, or 5 for windows of at least
        64 steps or 32 features, as published."""
        return 1 if self.length < 64 and self.features < 32 else 5

    def settings(self) -> dict[str, Any]:
        """The arguments of the configuration, JSON-ready."""
        return settings_of(self)
