"""Guards whose strength is multiplied by how likely an image is unsafe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxdiff.errors import InputError

from ..registry import at_least, flag
from ._guard import WithLabels


@dataclass(frozen=True, kw_only=True)
class Weighted(WithLabels):
    """A guard with a weight."""

    unsaid: ClassVar[tuple[str, ...]] = (*WithLabels.unsaid, "guard_weight", "classifier")
    ways: ClassVar[tuple[str, ...]] = ("guard_weight", "classifier")
    """Options of which each says how to weigh."""
    default_weight: ClassVar[str]

    guard_weight: Literal["constant", "density", "tracked"] | None = None
    """What --strength multiplies, by default constant for safe and tracked for dynamic_negative. constant: 1. density: the
    unsafe images' kernels. tracked: odds of unsafe, followed along the image's path by the likelihoods of --solver ddpm."""
    classifier: Path | None = None
    """Weigh by the odds of unsafe that this classifier of noised images gives, a folder of `python -m train classifier`."""
    threshold: float = 0.0
    """The least weight, before --strength, at which it acts."""
    cap: float = 5.0
    """The largest weight, --strength included."""

    def __post_init__(self):
        super().__post_init__()
        if len(given := [flag(name) for name in self.ways if getattr(self, name) is not None]) > 1:
            raise InputError(f"{' and '.join(given)} are ways to weigh: take one")
        at_least("threshold", self.threshold, 0)
        at_least("cap", self.cap, 0)

    @property
    def weighing(self) -> str:
        """What --strength multiplies."""
        return "classifier" if self.classifier else self.guard_weight or self.default_weight

    def check(self, sampling: Any) -> None:
        """Raises `InputError` for odds tracked along steps that are not DDPM's."""
        if self.weighing == "tracked" and sampling.solver != "ddpm":
            raise InputError(
                f"--guard {self.name} tracks odds by the likelihoods of DDPM's steps: take --solver ddpm or --classifier"
            )

    def said(self) -> dict[str, Any]:
        """See `Guard.said`."""
        return {**super().said(), "weight": self.weighing}

    def classifier_weight(self, process: Any) -> tuple[Any, str]:
        """The weight by the classifier, and its fingerprint.

        Raises:
            InputError: it was trained on another process, or it is not said which of its values are unsafe.
        """
        from jaxdiff import guidance, load_classifier
        from jaxdiff._console import arguments
        from jaxdiff.data.spec import split_spec

        classifier = load_classifier(self.classifier)
        attribute = classifier.attribute.name
        selected = split_spec(getattr(self, "unsafe", None) or "")[1]
        unsafe = arguments.value_names(self.unsafe_label) or selected
        if set(unsafe) != {attribute}:
            raise InputError(
                f"--classifier knows {attribute!r}: say which of its values are unsafe, by --unsafe-label {attribute}=VALUE "
                f"or by images selected by it; got {', '.join(unsafe) or 'neither'}"
            )
        log_odds = classifier.log_odds(unsafe[attribute])
        log_odds.require(process)
        return guidance.classifier_odds(log_odds), classifier.fingerprint
