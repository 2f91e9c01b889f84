"""What gates did to a set of samples: notes on each sample, and counts of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

REFUSED, GATE, PROMPT_GATE = "refused", "gate_caught", "prompt_gate_caught"
"""Notes on each sample: whether a black image is stored in its place; how many of its draws the image gate caught; and whether
the prompt gate caught its prompt."""
GATES = ("gate", "prompt_gate")
"""The settings of the gates in the provenance of a set."""


@dataclass(frozen=True)
class GateCounts:
    """What gates caught in a set.

    Attributes:
        images: images of the set.
        refused: of them, black images in the place of unsafe ones.
        prompt_gate: images whose prompt the prompt gate caught; None without one.
        gate: images whose first draw the image gate caught; None without one.
        classified: images that the image gate classified.
        redraws: how many times images were drawn again.
        passed: images that were caught, and of which a later draw passed.
    """

    images: int
    refused: int
    prompt_gate: int | None
    gate: int | None
    classified: int
    redraws: int
    passed: int

    @staticmethod
    def of(notes: Mapping[str, np.ndarray], provenance: Mapping[str, Any]) -> "GateCounts":
        """The counts of a set with gates.

        Arguments:
            notes: the notes on its samples.
            provenance: of the set.
        """
        refused, caught, prompt = notes[REFUSED].astype(bool), notes[GATE], notes[PROMPT_GATE].astype(bool)
        most = provenance.get("gate", {}).get("redraws", 0)
        return GateCounts(
            images=len(refused),
            refused=int(refused.sum()),
            prompt_gate=int(prompt.sum()) if "prompt_gate" in provenance else None,
            gate=int((caught > 0).sum()) if "gate" in provenance else None,
            classified=int((~(prompt & refused)).sum()),
            redraws=int(np.minimum(caught, most).sum()),
            passed=int(((caught > 0) & ~refused).sum()) if most else 0,
        )

    def described(self) -> str:
        """One line for people."""
        parts = []
        if self.prompt_gate is not None:
            parts.append(f"the prompt gate caught the prompts of {self.prompt_gate} of {self.images} images")
        if self.gate is not None:
            parts.append(f"the image gate caught {self.gate} of {self.classified} images")
        if self.redraws:
            parts.append(f"{self.redraws} redraws, after which {self.passed} of these passed")
        return "; ".join([*parts, f"{self.refused} of {self.images} images are refused"])
