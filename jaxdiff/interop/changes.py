"""What a user may change about a text-to-image pipeline while it is read."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxdiff.boundary import require_regular
from jaxdiff.errors import InputError
from jaxdiff.interop.pipeline import PARTS
from jaxdiff.models.unet_condition_config import check_dtype

Source = str | os.PathLike


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What differs from the files of a pipeline. All are optional.

    Arguments:
        dtype: of the computation of the UNet and the text encoders, and of their kernels: `float32` or `bfloat16`; by default
            that of the UNet's weights if they are bfloat16, else float32. The autoencoder is always float32.
        size: height and width of the images in pixels, or one number for both; by default those of training.
        variant: the variant of the weights, such as `fp16`; by default none where there are plain weights.
        replaced: for `unet`, `vae`, `text_encoder` or `text_encoder_2`, a file of weights or a folder, read instead. A file
            may hold some of the weights, which replace those of the pipeline, as those of edited models do.
        single: a file in the original layout, whose weights are read instead of all of the folder's.
        loras: files of LoRA with the weight of each, merged in their order.
        embeddings: files of textual inversion.

    Raises:
        InputError: a part or a dtype is unknown, a file does not exist, a weight is no finite number, or changes cannot be
            combined.
    """

    dtype: str | None = None
    size: int | tuple[int, int] | None = None
    variant: str | None = None
    replaced: Mapping[str, Source] = field(default_factory=dict)
    single: Source | None = None
    loras: Sequence[tuple[Source, float]] = ()
    embeddings: Sequence[Source] = ()

    def __post_init__(self):
        if unknown := sorted(self.replaced.keys() - PARTS.keys()):
            raise InputError(f"`replaced` takes the parts {', '.join(PARTS)}, got {', '.join(unknown)}")
        if self.dtype is not None:
            check_dtype(self.dtype)
        if self.single is not None and self.variant is not None:
            raise InputError("`variant` is for folders, and `single` is one file: give one of them")
        for file, weight in self.loras:
            if not math.isfinite(weight):
                raise InputError(f"the weight of {Path(file).name} in `loras` must be a finite number, got {weight}")
        for file in self._files():
            require_regular(file)

    def _files(self) -> Iterator[Path]:
        """All files that are given; a part may be a folder, too."""
        yield from (Path(given) for given in self.replaced.values() if not Path(given).is_dir())
        yield from (Path(file) for file, _ in self.loras)
        yield from map(Path, self.embeddings)
        if self.single is not None:
            yield Path(self.single)
