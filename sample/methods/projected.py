"""Projected guidance: from no label to the image's own, without the directions of other attributes or of a subspace."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from jaxdiff.bounds import NonNegative
from jaxdiff.errors import InputError

from ..registry import INTERNAL, Method
from ._classifiers import read_classifiers
from ._others import NeedsOthers


@dataclass(frozen=True, kw_only=True)
class Projected(NeedsOthers):
    """See `about`. With a subspace or classifiers it needs no other attributes of the model.

    Attributes:
        directions: those of the subspace, once read.
        classifiers: the classifiers, once read.
    """

    name: ClassVar[str] = "projected"
    about: ClassVar[str] = (
        "no label, led to the own one without the directions of other attributes of the model (concept algebra), or a subspace"
    )
    extrapolates: ClassVar[bool] = True

    label_strength: NonNegative = 1.0
    """Strength of the projected direction; 0 is sampling without labels."""
    without: tuple[str, ...] = ()
    """Attributes whose directions are removed; by default all of the model's but --attribute."""
    subspace: Path | None = None
    """File of `jaxdiff sample subspace`, whose directions are removed instead; the model needs no other attributes."""
    follow: bool = False
    """With --subspace: removes what goes with its directions at each step, instead of the directions themselves; one evaluation
    more for each."""
    without_classifiers: tuple[Path, ...] = ()
    """Classifiers of noised images of other attributes, whose directions are removed instead: folders of runs of `jaxdiff train
    classifier`. The model needs no other attributes."""
    directions: Any = field(default=None, metadata=INTERNAL)
    classifiers: Any = field(default=(), metadata=INTERNAL)

    @property
    def needs_null(self) -> bool:
        """True: directions are measured from the null condition."""
        return True

    def check(self, sampling: Any) -> None:
        """Raises `InputError` for two of attributes, a subspace and classifiers, or to follow no subspace."""
        if self.follow and not self.subspace:
            raise InputError("--follow is for --subspace FILE.npz, which `jaxdiff sample subspace` finds, and none is given")
        given = {"--without": self.without, "--subspace": self.subspace, "--without-classifiers": self.without_classifiers}
        if len(found := [name for name, value in given.items() if value]) > 1:
            raise InputError(f"{' and '.join(found)} each give the directions that are removed: use one of them")

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """The set, with the subspace or the classifiers read."""
        from jaxdiff import parallel

        from .. import subspace_file

        if self.without_classifiers:

            def of_others(classifier: Any) -> None:
                if own := set(chosen.name.split("+")) & set(classifier.attribute.name.split("+")):
                    raise InputError(f"it classifies {classifier.attribute.name!r}, and images are led along {own.pop()!r}")

            read = read_classifiers("--without-classifiers", self.without_classifiers, chosen, of_others)
            yield options.out, replace(self, classifiers=read)
        elif self.subspace is None:
            yield from super().sets(options, chosen)
        else:
            # every process reads it, so that all fail together
            found = parallel.run_on_all(lambda: subspace_file.read_for(self.subspace, chosen))
            yield options.out, replace(self, directions=found)

    def example(self) -> Method:
        """The method with the subspace or the classifiers read, whose sizes belong to the program."""
        if self.without_classifiers:
            from jaxdiff import load_classifier

            return replace(self, classifiers=tuple(map(load_classifier, self.without_classifiers)))
        if self.subspace is None:
            return self
        from .. import subspace_file

        return replace(self, directions=subspace_file.read(self.subspace)[0])

    def removed(self, chosen: Any) -> dict[str, int]:
        """The number of values of each attribute of the model that is removed, by name; none with a subspace or classifiers.

        Raises:
            InputError: an attribute is not there, or there is no other.
        """
        if self.subspace is not None or self.without_classifiers:
            return {}
        others = self.others(chosen)
        if unknown := [name for name in self.without if name not in others]:
            raise InputError(f"--without takes other attributes of the model, {', '.join(others)}; got {' '.join(unknown)}")
        return {name: count for name, count in others.items() if not self.without or name in self.without}

    def fits(self, chosen: Any) -> None:
        """Raises `InputError` as `removed`."""
        self.removed(chosen)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, the image's own, and for each removed attribute the condition of each value alone."""
        import numpy as np

        attributes = plan.chosen.model.conditions.attributes
        names = [each.name for each in attributes]

        def of_value(name: str, value: int) -> Any:
            rows = np.full((len(ends), len(names)), -1, np.int32)
            rows[:, names.index(name)] = value
            return plan.of_labels(rows)

        removed = self.removed(plan.chosen).items()
        others = tuple(tuple(of_value(name, value) for value in range(count)) for name, count in removed)
        return plan.null(ends), plan.own(ends), others

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with projected guidance."""
        from jaxdiff import guidance

        return guidance.projected(
            denoise,
            strength=self.label_strength,
            counts=tuple(self.removed(drawing.chosen).values()),
            subspace=self.directions,
            process=drawing.chosen.model.process if self.follow else None,
            log_posteriors=[classifier.log_posterior for classifier in self.classifiers],
        )

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options, with the attributes that are removed, the size and checksum of a subspace, and the fingerprints of
        classifiers."""
        from jaxdiff.finished import checksum

        found = {} if self.directions is None else {"count": len(self.directions), "checksum": checksum(self.directions)}
        subspace = {} if self.subspace is None else {"subspace": {"file": self.subspace.name, "follow": self.follow, **found}}
        names = {classifier.attribute.name: classifier.fingerprint for classifier in self.classifiers}
        classifiers = {"without_classifiers": names} if names else {}
        return {"label_strength": self.label_strength, "without": list(self.removed(plan.chosen)), **subspace, **classifiers}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        without = f"without {self._what}" if self.without or self.subspace or self.without_classifiers else ""
        return (f"strength {self.label_strength:g}", *([without] if without else []))

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return f"no label, led to $own without {'what goes with it' if self.subspace else 'other attributes'}"

    @property
    def _what(self) -> str:
        """What is removed, in words."""
        if self.subspace:
            return "a following subspace" if self.follow else "a fixed subspace"
        return ", ".join(self.without or [classifier.attribute.name for classifier in self.classifiers])
