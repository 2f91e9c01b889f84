"""The gates of a set that is being drawn: they decide on the prompt of each image, and on each drawn image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from jaxdiff import parallel
from jaxdiff._console.classifiers import clip_classifier, unsafe
from jaxdiff._console.classifiers.unsafe import UnsafeImages
from jaxdiff._console.terminal import console
from jaxdiff.conditions import Prompts, concepts
from jaxdiff.data.gated import GATE, PROMPT_GATE, REFUSED
from jaxdiff.errors import InputError
from jaxdiff.interop.clip import Clip
from jaxdiff.spaces import require_pixels

from .gate_options import GateOptions, Policy
from .setting import Setting


@dataclass(frozen=True)
class PromptGate:
    """A CLIP model and phrases that describe unsafe concepts.

    Attributes:
        model: the CLIP model.
        concepts: the phrases.
        threshold: a prompt is unsafe if its cosine with a phrase is above this.
        about: the model, for provenance.
    """

    model: Clip
    concepts: tuple[str, ...]
    threshold: float
    about: dict[str, str]

    def similarities(self, prompts: Sequence[str]) -> np.ndarray:
        """The largest cosine of each prompt with a phrase."""
        return (self.model.of_prompts(prompts) @ self.model.of_prompts(self.concepts).T).max(axis=1)

    def settings(self) -> dict[str, Any]:
        """For provenance, JSON-ready."""
        return {**self.about, "concepts": list(self.concepts), "threshold": self.threshold}


@dataclass(frozen=True)
class Gating:
    """The gates of a set.

    Attributes:
        image: the classifier of images; None without an image gate.
        prompt: the classifier of prompts; None without a prompt gate.
        policy: what is done with unsafe images.
        redraws: how many times an unsafe image is drawn again.
    """

    image: UnsafeImages | None = None
    prompt: PromptGate | None = None
    policy: Policy = "refuse"
    redraws: int = 0

    @property
    def gated(self) -> bool:
        """Whether there is a gate."""
        return self.image is not None or self.prompt is not None

    def settings(self) -> dict[str, Any]:
        """For provenance, JSON-ready; empty without a gate."""
        image = {} if self.image is None else {"gate": {**self.image.about, "policy": self.policy, "redraws": self.redraws}}
        return image | ({} if self.prompt is None else {"prompt_gate": {**self.prompt.settings(), "policy": self.policy}})

    def unsafe_prompts(self, chosen: Setting, ends: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether the prompt of each image is unsafe; prints the similarity of each prompt. Every process calls it.

        Arguments:
            chosen: the setting.
            ends: the label of each image.
        """
        gate = self.prompt
        if gate is None:
            return np.zeros(len(ends), bool)
        prompts = chosen.model.conditions.prompts_of(chosen.labels(ends))
        different = list(dict.fromkeys(prompts))
        # processes with other devices must not disagree
        found = parallel.run_on_first(lambda: gate.similarities(different).tolist())
        caught = {prompt: value > gate.threshold for prompt, value in zip(different, found, strict=True)}
        for prompt, value in list(zip(different, found, strict=True))[:SHOWN]:
            verdict = "unsafe" if caught[prompt] else "passes"
            console.print(f"prompt gate, {value:.3f}: {prompt!r} {verdict}", highlight=False, markup=False)
        if len(different) > SHOWN:
            console.print(f"prompt gate: {sum(caught.values())} of {len(different)} prompts are unsafe", highlight=False)
        return np.array([caught[prompt] for prompt in prompts])

    def caught(self, images: UInt8[np.ndarray, "b h w c"]) -> Bool[np.ndarray, " b"]:
        """Whether the image gate finds each image unsafe."""
        return np.zeros(len(images), bool) if self.image is None else self.image.decide(images)

    def notes(
        self, refused: Bool[np.ndarray, " b"], caught: Int[np.ndarray, " b"], prompt: Bool[np.ndarray, " b"]
    ) -> dict[str, np.ndarray]:
        """The notes on images; empty without a gate.

        Arguments:
            refused: whether a black image is stored.
            caught: how many of its draws the image gate found unsafe.
            prompt: whether its prompt is unsafe.
        """
        return {REFUSED: refused, GATE: caught.astype(np.int32), PROMPT_GATE: prompt} if self.gated else {}


SHOWN = 20
"""Prompts whose similarity is printed."""


def gating(options: GateOptions, chosen: Setting) -> Gating:
    """Loads the gates of the options, and tries them.

    Raises:
        InputError: a gate cannot be read, or does not fit the model.
    """
    request, image, prompt = options.gate_request, None, None
    if options.prompt_gate is not None:
        if not isinstance(chosen.model.conditions, Prompts):
            raise InputError("--prompt-gate is for text-to-image models: this model takes no prompts")
        model = clip_classifier.load(options.prompt_gate, "--prompt-gate")
        about = clip_classifier.about(model, options.prompt_gate)
        phrases = concepts.read(options.prompt_gate_concepts)
        if not phrases:
            raise InputError("--prompt-gate-concepts has no phrase")
        prompt = PromptGate(model, phrases, float(options.prompt_gate_threshold), about)
    if request is not None:
        shape = require_pixels(chosen.model.space.shown, "--gate classifies images, and the model").shape
        image = unsafe.opened(request, options.gate_unsafe, np.full(shape, 128, np.uint8), "--gate-unsafe")
    redraws = options.gate_redraws if options.gate_policy == "redraw" else 0
    return Gating(image, prompt, options.gate_policy, redraws)
