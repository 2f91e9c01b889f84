"""Options that say which conditions are unsafe: concepts as phrases, and labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxdiff.errors import InputError

from ..registry import Entry


@dataclass(frozen=True, kw_only=True)
class WithConcepts(Entry):
    """A method or a modifier that takes unsafe concepts."""

    unsafe_concepts: tuple[str, ...] = ()
    """Text-to-image models: unsafe concepts as phrases, in words that the model knows, such as "with a beard". One that ends
    with .txt is a text file with a phrase on each line."""

    def concepts(self, chosen: Any) -> tuple[str, ...]:
        """The phrases; none if all are empty, which is printed.

        Raises:
            InputError: the model takes no prompts, or a file is missing or damaged.
        """
        from jaxdiff._console.terminal import console
        from jaxdiff.conditions import Prompts

        if not isinstance(chosen.model.conditions, Prompts):
            raise InputError("--unsafe-concepts is for text-to-image models, and this model takes no prompts")
        found = self.phrases()
        what = f"unsafe concepts: {', '.join(found)}" if found else "Warning: there are no unsafe concepts"
        console.print(f"{self.spelled()}: {what}", highlight=False, markup=False)
        return found

    def phrases(self) -> tuple[str, ...]:
        """The phrases, of a model that may take none. Raises `InputError` if a file is missing or damaged."""
        from jaxdiff import parallel
        from jaxdiff.conditions import concepts

        # every process reads them, so that all fail together
        return parallel.run_on_all(lambda: concepts.read(self.unsafe_concepts))


@dataclass(frozen=True, kw_only=True)
class WithLabels(Entry):
    """A modifier that takes unsafe labels."""

    unsafe_label: tuple[str, ...] = ()
    """Unsafe labels of the model, as ATTRIBUTE=VALUE. With --classifier: the unsafe values of the classifier's attribute, as
    ATTRIBUTE=VALUE,VALUE,..., unless --unsafe selects images by it."""


class Unsafe(NamedTuple):
    """What is unsafe, for a model.

    Attributes:
        condition: a function of a condition, or of a pytree of them, that makes all of them unsafe.
        settings: the concepts or labels, for provenance.
    """

    condition: Callable[[Any], Any]
    settings: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class WithUnsafeCondition(WithConcepts, WithLabels):
    """A modifier that guides away from the model's own mean under unsafe concepts or labels."""

    def __post_init__(self):
        super().__post_init__()
        if not (self.unsafe_label or self.unsafe_concepts):
            raise InputError(
                f"{self.spelled()} needs --unsafe-concepts, phrases for a text-to-image model, or --unsafe-label, an "
                "ATTRIBUTE=VALUE of the model"
            )
        if self.unsafe_label and self.unsafe_concepts and getattr(self, "classifier", None) is None:
            raise InputError("--unsafe-concepts and --unsafe-label both say what is unsafe: use one of them")

    def unsafe_of(self, chosen: Any) -> Unsafe | None:
        """What is unsafe for the model; None if there are no concepts.

        Concepts are joined by commas to one prompt, which replaces that of every image. Labels replace those of the same
        attributes; other labels of an image stay.

        Raises:
            InputError: the model does not have a label, or takes no prompts.
        """
        conditions = chosen.model.conditions
        if not self.unsafe_concepts:
            given = [(name, value) for name, _, value in (item.partition("=") for item in self.unsafe_label)]
            return Unsafe(conditions.replacing(given), {"unsafe_label": list(self.unsafe_label)})
        if not (phrases := self.concepts(chosen)):
            return None
        from jaxdiff._console.terminal import console

        prompt = ", ".join(phrases)
        for end in conditions.cut([prompt]).values():
            console.print(
                f"the unsafe concepts are too long for a prompt: the model does not see {end!r}", highlight=False, markup=False
            )
        return Unsafe(conditions.replacing_all(prompt), {"unsafe_concepts": list(phrases)})
