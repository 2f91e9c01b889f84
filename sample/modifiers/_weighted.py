"""Guards whose strength is weighted by how likely an image is unsafe."""

from collections import ChainMap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxdiff.bounds import NonNegative, Unlimited
from jaxdiff.errors import InputError

from ..registry import flag
from ._guard import Guard
from ._unsafe import WithLabels


@dataclass(frozen=True, kw_only=True)
class Weighted(WithLabels, Guard):
    """A guard with a weight."""

    omitted: ClassVar[tuple[str, ...]] = (*Guard.omitted, "guard_weight", "classifier")
    weight_options: ClassVar[tuple[str, ...]] = ("guard_weight", "classifier")
    """Options that set the weight; at most one is given."""
    default_weight: ClassVar[str]

    guard_weight: Literal["constant", "density", "tracked"] | None = None
    """Weight that --strength multiplies; by default constant for safe, tracked for dynamic_negative. constant: 1. density:
    kernel density of the unsafe images. tracked: odds that the image is unsafe, accumulated along its sampling path; needs
    --solver ddpm."""
    classifier: Path | None = None
    """Weight by the odds that the image is unsafe, from a classifier of noised images: the folder of a `jaxdiff train
    classifier` run."""
    threshold: NonNegative = 0.0
    """Minimum weight, before --strength, at which the guard acts; at least 0."""
    cap: Unlimited = 5.0
    """Maximum weight, including --strength; at least 0."""

    def __post_init__(self):
        super().__post_init__()
        if len(given := [flag(name) for name in self.weight_options if getattr(self, name) is not None]) > 1:
            raise InputError(f"{' and '.join(given)} each set the weight: use one of them")

    @property
    def weight_kind(self) -> str:
        """The kind of weight that --strength multiplies."""
        return "classifier" if self.classifier else self.guard_weight or self.default_weight

    def check(self, sampling: Any) -> None:
        """Raises `InputError` for tracked odds with a solver other than DDPM."""
        if self.weight_kind == "tracked" and sampling.solver != "ddpm":
            raise InputError(
                f"--guard {self.name} with tracked odds needs --solver ddpm, got {sampling.solver_given}; or give --classifier"
            )

    def provenance(self) -> dict[str, Any]:
        """See `Guard.provenance`."""
        return {**super().provenance(), "weight": self.weight_kind}

    def classifier_weight(self, process: Any) -> tuple[Any, str]:
        """The weight from the classifier, and the classifier's fingerprint.

        Raises:
            InputError: it was trained on another process, or the unsafe values of its attribute are not given.
        """
        from jaxdiff import guidance, load_classifier
        from jaxdiff.data.spec import chosen_values, parse_selection, split_spec

        classifier = load_classifier(self.classifier)
        attribute = classifier.attribute.name
        labels = [parse_selection(item) for item in self.unsafe_label]
        wanted = dict(ChainMap(*labels)) if labels else split_spec(getattr(self, "unsafe", None) or "")[1]
        if set(wanted) != {attribute}:
            raise InputError(
                f"--classifier predicts {attribute!r}: give its unsafe values with --unsafe-label {attribute}=VALUE, or select "
                f"--unsafe images by it; got {', '.join(wanted) or 'neither'}"
            )
        unsafe = chosen_values(wanted[attribute], classifier.attribute.values, attribute)
        classifier.require(process)
        return guidance.classifier_odds(classifier.log_odds(unsafe)), classifier.fingerprint
