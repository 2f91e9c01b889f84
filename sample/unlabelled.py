"""What is estimated of a label from samples drawn without it: a region of images, or a subspace."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxdiff._console.terminal import working
from jaxdiff.errors import InputError

from .drawing import Drawing
from .methods.unconditional import Unconditional
from .options import Sampling
from .setting import Setting, setting
from .solving import Solving
from .unlabelled_options import FromUnlabelled


def setting_of(options: FromUnlabelled) -> Setting:
    """The setting of a command's options. Raises `InputError` if they do not fit the model."""
    solving = {field.name: getattr(options, field.name) for field in fields(Solving)}
    chosen = setting(options.model, options.attribute, (), Sampling(**solving), method=Unconditional())
    if options.count % (devices := chosen.mesh.size):
        raise InputError(f"--count must be a multiple of the {devices} devices, got {options.count}")
    return chosen


def estimated(
    options: FromUnlabelled, chosen: Setting, estimate: Callable[..., Any], **how: Any
) -> tuple[Float[np.ndarray, "b ..."], Any]:
    """This process's samples without a label, and what is estimated from all.

    Arguments:
        options: the options.
        chosen: their setting.
        estimate: called as `jaxdiff.fairness.label_map` with the samples and the condition of each value.
        how: further arguments of it.
    """
    drawing = Drawing(chosen, Unconditional(), options.seed)
    rows = options.count // jax.process_count()
    indices, ends = jax.process_index() * rows + np.arange(rows), np.zeros(rows, int)
    with working("drawing samples without a label"), jax.set_mesh(chosen.mesh):
        x, _ = drawing.draw(indices, ends)
        conditions = [drawing.over_devices(drawing.plan.own(np.full(rows, value))) for value in range(drawing.plan.count)]
        # no sample has this key
        key = jax.random.fold_in(jax.random.key(options.seed), 2**31 - 1)
        denoise = chosen.model.denoiser(chosen.policy)
        return x, estimate(denoise, chosen.model.process, drawing.over_devices(x), conditions, key=key, **how)
