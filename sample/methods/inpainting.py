"""Inpainting: an image drawn without a label, and the region where the label shows drawn again under the image's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds
from jaxdiff.errors import InputError

from ..registry import INTERNAL, Method
from ._two_runs import TwoRuns

GUIDING = ("guidance", "interval")
"""The slots of modifiers that do nothing without a label."""


@dataclass(frozen=True, kw_only=True)
class Inpainting(TwoRuns):
    """See `about`. Outside the region an image is that of --method unconditional.

    Attributes:
        mask: the region, once read.
    """

    name: ClassVar[str] = "inpainting"
    about: ClassVar[str] = "no label, then the region where the label shows is drawn again under the image's own label"

    region: Path | None = None
    """Picture of the region: white is drawn again. `jaxdiff sample region` finds it. Other sizes than that of the model are
    scaled to it."""
    inpaint_strength: Annotated[float, Bounds(above=0, most=1)] = 0.8
    """Time to which the region is noised before it is drawn again, in (0, 1]; at a smaller one it keeps more."""
    mask: Any = field(default=None, metadata=INTERNAL)

    @property
    def needs_null(self) -> bool:
        """True: images are first drawn with the null condition."""
        return True

    def check(self, sampling: Any) -> None:
        """Raises `InputError` without a region."""
        if self.region is None:
            raise InputError("--method inpainting needs --region FILE.png, which `jaxdiff sample region` finds")
        if sampling.network_eps:
            raise InputError("--method inpainting keeps what is outside the region, and --network-eps does not")

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """The set, with the region read."""
        from jaxdiff import parallel

        # every process reads it, so that all fail together
        mask = parallel.run_on_all(lambda: read_region(self.region, chosen.model.shape))
        yield options.out, replace(self, mask=mask)

    def draw(self, drawing: Any, indices: Any, ends: Any, noise: Any) -> tuple[Any, Any]:
        """Samples without a label, with the region drawn again."""
        import numpy as np

        from jaxdiff import inpainting

        plan, chosen = drawing.plan, drawing.chosen
        none, own = drawing.over_devices(plan.unlabelled(ends)), drawing.over_devices(plan.own(ends))
        key, numbers = noise
        unguided = _unguided(drawing)
        first, _ = unguided.sampled(unguided.denoiser(none), none, noise)
        drawn = inpainting.inpaint(
            drawing.denoiser(own), chosen.model.process, first, np.asarray(self.mask)[None, :, :, None],
            condition=chosen.nest.given(own), solver=chosen.solver, key=self.second(key), strength=self.inpaint_strength,
            indices=numbers,
        )  # fmt: skip
        return drawn, None

    def evaluations(self, drawing: Any) -> int:
        """Network evaluations of both runs."""
        import numpy as np

        from jaxdiff.solvers.driver import evaluations

        again, chosen = drawing.denoiser(self.condition(drawing.plan, np.arange(1), np.zeros(1, int))), drawing.chosen
        first = _unguided(drawing).evaluations_of_a_run()
        return first + evaluations(again, chosen.model.process, chosen.solver, t=self.inpaint_strength)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The strength, and of the region its size and checksum."""
        from jaxdiff.finished import checksum

        pixels = {} if self.mask is None else {"pixels": int(self.mask.sum()), "checksum": checksum(self.mask)}
        return {"inpaint_strength": self.inpaint_strength, "region": {"file": self.region and self.region.name, **pixels}}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"strength {self.inpaint_strength:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "no label, region drawn again as $own"


def _unguided(drawing: Any) -> Any:
    """The drawing without modifiers that guide towards a label."""
    chosen = drawing.chosen
    return replace(drawing, chosen=replace(chosen, scale=1.0, nest=chosen.nest.only(lambda each: each.slot not in GUIDING)))


def read_region(path: Path, shape: Sequence[int]) -> Any:
    """The region of a picture at the size of a model's arrays, (H, W): a pixel is in it where any of the picture's is white.

    Raises:
        InputError: the picture cannot be read, has no white pixel or has another shape, or the model is not one of images.
    """
    import numpy as np

    from jaxdiff.data.images import decode

    if len(shape) != 3:
        raise InputError(f"--region is for models of images, and this one has arrays of shape {tuple(shape)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read --region {path}: {error.strerror}") from error
    white = decode(content, f"--region {path}")[..., :3].max(-1) > 127
    if not white.any():
        raise InputError(f"--region {path} has no white pixel: nothing would be drawn again")
    (height, width), (rows, columns) = shape[:2], white.shape
    if rows * width != columns * height:
        raise InputError(f"--region {path} is {rows}x{columns} pixels, and the model's images are {height}x{width}")
    found = np.zeros((height, width), bool)
    finest = np.arange(max(rows, height)), np.arange(max(columns, width))
    of = lambda size: tuple(each * n // len(each) for each, n in zip(finest, size, strict=True))  # noqa: E731
    np.logical_or.at(found, np.ix_(*of((height, width))), white[np.ix_(*of((rows, columns)))])
    return found
