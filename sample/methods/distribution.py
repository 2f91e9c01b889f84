"""Distribution guidance: other attributes have the same shares in every group, by classifiers of noised images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from jaxdiff.bounds import NonNegative
from jaxdiff.errors import InputError

from ..registry import INTERNAL, Method
from ._classifiers import read_classifiers
from ._marginals import WithMarginals


@dataclass(frozen=True, kw_only=True)
class Distribution(WithMarginals):
    """See `about`.

    Attributes:
        classifiers: the classifiers, once read.
    """

    name: ClassVar[str] = "distribution"
    about: ClassVar[str] = (
        "the own label; other attributes led to the same shares in every group by classifiers of noised images"
    )
    extrapolates: ClassVar[bool] = True

    joint_classifiers: tuple[Path, ...] = ()
    """Classifiers of noised images for combinations of --attribute with other attributes: folders of runs of `jaxdiff train
    classifier --attribute group+glasses`. The ratios of several are multiplied."""
    distribution_strength: NonNegative = 1.0
    """Strength of the guidance; 1 is exact for exact classifiers, 0 is `vanilla`."""
    classifiers: Any = field(default=(), metadata=INTERNAL)

    def check(self, sampling: Any) -> None:
        """Raises `InputError` without a classifier."""
        if not self.joint_classifiers:
            raise InputError(
                "--method distribution needs --joint-classifiers FOLDER, of `jaxdiff train classifier --attribute GROUP+OTHER`"
            )

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """The set, with the classifiers read and the shares checked before anything is drawn."""
        from jaxdiff.conditions.labels import Labels

        if not isinstance(chosen.model.conditions, Labels):
            raise InputError("--method distribution needs a model conditioned on labels, and this one takes prompts")
        of_group = lambda classifier: classifier.shares_within(chosen.attribute)  # noqa: E731
        read = read_classifiers("--joint-classifiers", self.joint_classifiers, chosen, of_group)
        found = replace(self, classifiers=read)
        found.targets(chosen)
        yield options.out, found

    def example(self) -> Method:
        """The method with the classifiers read, whose sizes belong to the program."""
        from jaxdiff import load_classifier

        return replace(self, classifiers=tuple(map(load_classifier, self.joint_classifiers)))

    def targets(self, chosen: Any) -> dict[str, tuple[float, ...]]:
        """The shares of each of the other attributes in every group, by name; by default those of the training data.

        Raises:
            InputError: --marginals does not fit, or two classifiers are of one attribute.
        """
        import numpy as np

        default = {}
        for classifier in self.classifiers:
            other, within = classifier.shares_within(chosen.attribute)
            if other.name in default:
                raise InputError(f"--joint-classifiers takes one classifier of each attribute, got two of {other.name!r}")
            default[other.name] = tuple(np.reshape(classifier.shares, within.shape).sum(0).tolist())
        return self.completed(default)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The image's own condition."""
        return plan.own(ends)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with distribution guidance."""
        import numpy as np

        from jaxdiff import guidance

        chosen = drawing.chosen
        count = len(chosen.attribute.values)
        ratios = [
            classifier.log_ratio(chosen.attribute, np.broadcast_to(shares, (count, len(shares))))
            for classifier, shares in zip(self.classifiers, self.targets(chosen).values(), strict=True)
        ]
        of_group = chosen.model.conditions.weights_of(chosen.columns)
        strength = self.distribution_strength
        return guidance.density_ratio(denoise, chosen.model.process, ratios, strength=strength, given=of_group)

    def settings(self, plan: Any) -> dict[str, Any]:
        """Strength and shares, and the fingerprint of each classifier."""
        targets = self.targets(plan.chosen)
        fingerprints = [classifier.fingerprint for classifier in self.classifiers]
        return {
            "distribution_strength": self.distribution_strength,
            "marginals": targets,
            "joint_classifiers": dict(zip(targets, fingerprints, strict=True)),
        }

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"strength {self.distribution_strength:g}", *self.marginals)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "$own, other attributes led to their shares"
