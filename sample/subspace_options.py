"""Options of `jaxdiff sample subspace`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxdiff.bounds import Bounds
from jaxdiff.errors import InputError

from .unlabelled_options import FromUnlabelled


@dataclass(frozen=True, kw_only=True)
class Subspace(FromUnlabelled):
    """Finds the directions of what goes with a label in the data, for --method projected of `jaxdiff sample draw`.

    Samples are drawn without a label and noised. At a large noise the model's means under the values of the label differ in all
    that goes with it, at a small one in the label itself. The subspace is that of the first differences without the second. No
    label of another attribute is used.

    Look at the picture: the directions should show what goes with the label, and not the label itself.

    Examples:

      jaxdiff sample subspace --model runs/faces --attribute group --out out/subspace.npz

      jaxdiff sample draw --model runs/faces --method projected --subspace out/subspace.npz --out out/projected
    """

    out: Path
    """File .npz for the directions; for models of images NAME.png beside it shows them."""
    far: tuple[Annotated[float, Bounds(above=0, most=1)], ...] = (0.6, 0.8, 1.0)
    """Times in (0, 1] of large noise."""
    near: Annotated[float, Bounds(above=0, most=1)] = 0.3
    """Time of small noise, below those of --far, at which all but the label is decided."""
    own_share: Annotated[float, Bounds(above=0, below=1)] = 0.3
    """Share of the differences at the small noise that the label's own directions explain; with a larger one, fewer directions
    count as going with it."""
    share: Annotated[float, Bounds(above=0, below=1)] = 0.9
    """Share of the differences at large noise that these explain together with the label's own."""

    def __post_init__(self):
        super().__post_init__()
        if self.out.suffix.lower() != ".npz":
            raise InputError(f"--out must end in .npz, got {self.out}")
        if not self.far or self.near >= min(self.far):
            raise InputError(f"--near must be below each of --far, got {self.near} and {' '.join(map(str, self.far))}")
