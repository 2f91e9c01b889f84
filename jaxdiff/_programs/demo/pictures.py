"""The demo's pictures of attribute switching."""

import jax
import numpy as np
from PIL import Image

from jaxdiff import guidance
from jaxdiff._console.pictures import grid
from jaxdiff._programs.sample.setting import Setting
from jaxdiff.solvers import sample


def _switched(chosen: Setting, starts, ends, taus, indices) -> np.ndarray:
    """Images with the labels `starts` until `taus`, then `ends`, each from the noise of its index."""
    drawn = sample(
        guidance.switching(chosen.denoise, np.asarray(taus, np.float32)),
        chosen.model.process,
        shape=chosen.model.shape,
        condition=(chosen.condition(np.asarray(starts)), chosen.condition(np.asarray(ends))),
        solver=chosen.solver,
        key=jax.random.key(0),
        indices=np.asarray(indices),
    )
    return chosen.model.space.decode(drawn)


def matched_pairs(chosen: Setting, tau: float, columns: int) -> Image.Image:
    """Two rows from the same noise: not switched, and switched at tau; the left half starts in the first group."""
    starts = (np.arange(columns) >= columns / 2).astype(int)
    noise = np.arange(columns)
    images = _switched(
        chosen,
        np.tile(starts, 2),
        np.concatenate([starts, 1 - starts]),
        np.full(2 * columns, tau),
        np.tile(noise, 2),
    )
    return grid(images, columns)


def strip(chosen: Setting, taus: np.ndarray) -> Image.Image:
    """One face over a range of tau, from the same noise; one row for each starting group."""
    starts = np.repeat([0, 1], len(taus))
    # noise 1, whose images show a beard and long hair
    return grid(_switched(chosen, starts, 1 - starts, np.tile(taus, 2), np.ones(len(starts), int)), len(taus))
