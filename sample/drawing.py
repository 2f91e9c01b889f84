"""Drawing a batch: a method with the setting it samples from, its compiled program and its cost."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxdiff import guidance, parallel
from jaxdiff.guidance.record import Record
from jaxdiff.solvers import sample
from jaxdiff.solvers.driver import evaluations, traced

from .plan import Plan
from .registry import Method
from .setting import Setting

REDRAWN = 2**31
"""Above the number of every image; this plus k is folded into the key of an image that is drawn for the k-th time again."""


@dataclass(frozen=True)
class Drawing:
    """A method with the setting that it samples from.

    Attributes:
        chosen: the setting.
        method: the method.
        seed: seed of the noise and of random labels.
    """

    chosen: Setting
    method: Method
    seed: int = 0

    @cached_property
    def plan(self) -> Plan:
        """The conditions of the setting's values."""
        return Plan(self.chosen, self.seed)

    @property
    def key(self) -> jax.Array:
        """The key of the noise."""
        return jax.random.key(self.seed)

    @property
    def scale(self) -> float:
        """The guidance scale for a method that applies classifier-free guidance itself; 1 if the guard applies it."""
        return 1.0 if self.chosen.nest.guard_takes_scale else self.chosen.scale

    def ends(self, count: int) -> Int[np.ndarray, " n"]:
        """The label of each of `count` images, as a position in the setting's values."""
        return self.method.ends(self.plan, count)

    def labels(self, ends: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n a"]:
        """The label rows of images 0 .. N - 1 with these labels, as they are recorded."""
        return self.method.labels(self.plan, np.arange(len(ends)), ends)

    def draw(
        self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"], redraws: Int[np.ndarray, " b"] | None = None
    ) -> tuple[Float[np.ndarray, "b ..."], dict[str, np.ndarray]]:
        """Samples of these indices and labels, and the record of each by the guard, or else the method (see `guard_record`).

        Call it under `jax.set_mesh` of the setting's mesh, in every process, with B rows of its own; it returns their samples.

        Arguments:
            indices, ends: indices and labels of the images.
            redraws: see `noise`.
        """
        x, record = self.method.draw(self, indices, ends, self.noise(indices, ends, redraws))
        return parallel.local_rows(x), {} if record is None else guard_record(record, self.chosen.model.process)

    def denoiser(self, condition: Any, indices: Any = None, ends: Any = None) -> Any:
        """The denoiser given to the solver; see `nest` for the order of its parts.

        Arguments:
            condition: its condition, or anything of that structure.
            indices, ends: indices and labels of the images; None if any will do.
        """
        inside = self.chosen.nest.inside(self.method.takes_scale)
        return self.chosen.nest.outside(self.method.around(inside, self, indices, ends), condition, self.method.extrapolates)

    def noise(
        self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"], redraws: Int[np.ndarray, " b"] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The key of the noise, one for all or one for each image, and the number of each image under its key.

        Arguments:
            indices, ends: indices and labels of the images.
            redraws: how many times each image was drawn before, each of which has noise of its own; None if none ever is.
        """
        seeded = self.plan.seeded(indices, ends)
        if seeded is None and redraws is None:
            return self.key, self.over_devices(indices)
        seeds, numbers = seeded or (np.full(len(indices), self.seed, np.uint32), indices)
        # as numbers of images end below it, no key is one of another image
        again = None if redraws is None else np.where(redraws > 0, REDRAWN + redraws.astype(np.uint32), 0).astype(np.uint32)
        seeds, numbers, again = self.over_devices((seeds, numbers, again))
        return _keys(seeds, again), numbers

    def over_devices(self, rows: Any) -> Any:
        """Rows on the host, sharded over the devices."""
        return parallel.shard_rows(self.chosen.mesh, rows)

    def sampled(self, denoise: Any, condition: Any, noise: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Record | None]:
        """Samples from the solver, sharded over the devices, and the guard's record, if any; `noise` is of `noise`."""
        (key, indices), condition = noise, self.chosen.nest.given(condition)
        process, shape = self.chosen.model.process, self.chosen.model.shape
        x, memory = sample(
            denoise, process, shape=shape, solver=self.chosen.solver, key=key, condition=condition, indices=indices,
            return_memory=True,
        )  # fmt: skip
        return x, guidance.record(denoise, memory, len(indices))

    def trace(self, count: int) -> jax.stages.Traced:
        """The program that `draw` runs for a batch of `count` images over all devices; for editing, its first program."""
        rows = np.arange(count // jax.process_count(), dtype=np.int32)
        ends = self.plan.in_turn(len(rows))
        condition, (key, numbers) = self.over_devices(self.method.condition(self.plan, rows, ends)), self.noise(rows, ends)
        return traced(
            self.denoiser(condition), self.chosen.model.process, shape=self.chosen.model.shape, solver=self.chosen.solver,
            key=key, condition=self.chosen.nest.given(condition), indices=numbers,
        )  # fmt: skip

    @cached_property
    def evaluations(self) -> int:
        """Network evaluations per image."""
        return self.method.evaluations(self)

    def evaluations_of_a_run(self) -> int:
        """Network evaluations per image of one run of the solver."""
        condition = self.method.condition(self.plan, np.arange(1), np.zeros(1, int))
        return evaluations(self.denoiser(condition), self.chosen.model.process, self.chosen.solver)

    def undrawn(self, count: int) -> dict[str, np.ndarray]:
        """The guard's record of images that are not drawn; see `guard_record`."""
        if self.chosen.nest.in_slot("guard") is None and not self.method.records:
            return {}
        zeros, none = np.zeros(count, np.int32), np.full(count, np.nan, np.float32)
        return {"acted": zeros, "looked": zeros, "strongest": np.zeros(count, np.float32), "first_snr": none, "last_snr": none}

    def settings(self) -> dict[str, Any]:
        """Everything that determines the samples, JSON-ready."""
        guard = self.chosen.nest.in_slot("guard")
        return {
            **self.chosen.searched(guarded=False).context(),
            **({"modifiers": modifiers} if (modifiers := self.chosen.nest.settings()) else {}),
            "model_training": self.chosen.model.training,
            "method": self.method.name,
            "seed": self.seed,
            **({} if self.chosen.seeds is None else {"seeds_of_prompts": list(self.chosen.seeds)}),
            "evaluations": self.evaluations,
            **self.chosen.model.space.decoded_by,
            **self.method.settings(self.plan),
            **self.method.provenance(self.chosen),
            **(guard.settings if guard else {}),
        }

    def captions(self) -> dict[str, Any]:
        """Captions for a report page: `parts` describe the set, `image` an image of it."""
        parts = [self.method.name, *self.method.parts]
        for each in self.chosen.nest.modifiers:
            parts += each.modifier.parts
        return {"parts": parts, "image": self.method.caption}


def _keys(seeds: jax.Array, again: jax.Array | None) -> jax.Array:
    """The key of each image, from its seed and what is folded into it, where that is not 0."""
    keys = jax.vmap(jax.random.key)(seeds)
    return keys if again is None else jnp.where(again > 0, jax.vmap(jax.random.fold_in)(keys, again), keys)


def guard_record(record: Record, process: Any) -> dict[str, np.ndarray]:
    """How a guard acted on each of this process's images, as arrays by name.

    `looked` and `acted` count the evaluations at which it was applied and had an effect, `strongest` is the largest weight or
    displacement, and `first_snr` and `last_snr` are the SNR at which it first and last acted, NaN if it never did.
    """
    snr = lambda t: jnp.where(jnp.isnan(t), jnp.nan, process.snr(jnp.nan_to_num(t, nan=1.0)))  # noqa: E731
    notes = {
        "acted": record.acted,
        "looked": record.looked,
        "strongest": record.strongest,
        "first_snr": snr(record.first),
        "last_snr": snr(record.last),
    }
    return {name: parallel.local_rows(parallel.shard_batch(values)) for name, values in notes.items()}
