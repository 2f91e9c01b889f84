"""Fair projections of prompt embeddings: FairPCA (Kleindessner et al. 2023) as FairImagen (Fu et al. 2025) uses it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jaxdiff.errors import InputError
from jaxdiff.models.labels import NULL

_LEAST = 1e-6
"""Singular values below this part of the largest are rounding."""


@dataclass(frozen=True)
class FairProjection:
    """Embeddings without the directions in which the means of attributes' values differ, plus those of given values.

    FairPCA looks for an orthonormal U of largest variance tr(U' X' X U) with Z' X U = 0, for embeddings X and centred
    indicators Z of the values. With as many columns as the constraint leaves, U U' = P = 1 - Q Q', where Q is an orthonormal
    basis of the rows of Z' X, which are the means of the values minus the mean of all. An embedding e becomes

        m + P (e - m) + injection sum_a Q Q' (mean of its value of attribute a - m),

    m the mean of all. Without injection the values have equal means, and no linear classifier tells them apart; the injection
    is FairImagen's noise, drawn from the means of values in wanted shares.

    Attributes:
        mean: m, (D,).
        basis: Q, (D, R).
        offsets: for each attribute the means of its values minus m, (K, D).
    """

    mean: Float[np.ndarray, " d"]
    basis: Float[np.ndarray, "d r"]
    offsets: tuple[Float[np.ndarray, "_ d"], ...]

    @staticmethod
    def fit(
        embeddings: Float[np.ndarray, "n *tokens d"], labels: Int[np.ndarray, "n a"], values: Sequence[int]
    ) -> "FairProjection":
        """The projection that takes the values of all attributes out of embeddings.

        Arguments:
            embeddings: of prompts with values; each token of a prompt counts by itself.
            labels: the values of each prompt, -1 for one without a value of an attribute.
            values: the number of values of each attribute.

        Raises:
            InputError: a value has no prompt.
        """
        rows = np.asarray(embeddings, np.float64).reshape(len(embeddings), -1, embeddings.shape[-1]).mean(1)
        mean, offsets = rows.mean(0), []
        for column, count in zip(labels.T, values, strict=True):
            if absent := [value for value in range(count) if not (column == value).any()]:
                raise InputError(f"`labels` must have a prompt of every value, and have none of value {absent[0]}")
            # from the mean of prompts that have the attribute, so that others do not count as a value
            own = rows[column != NULL].mean(0)
            offsets.append(np.stack([rows[column == value].mean(0) for value in range(count)]) - own)
        _, sizes, directions = np.linalg.svd(np.concatenate(offsets), full_matrices=False)
        kept = sizes > _LEAST * max(1.0, sizes[0])
        return FairProjection(mean, directions[kept].T, tuple(offsets))

    @property
    def matrix(self) -> Float[np.ndarray, "d d"]:
        """P, symmetric and idempotent."""
        return np.eye(len(self.mean)) - self.basis @ self.basis.T

    def __call__(
        self, embeddings: Float[np.ndarray, "n *tokens d"], labels: Int[np.ndarray, "n a"], injection: float = 0.0
    ) -> Float[np.ndarray, "n *tokens d"]:
        """The projected embeddings, each token by itself, float32.

        Arguments:
            embeddings: of neutral prompts.
            labels: the value of each attribute that a prompt is given, -1 for none.
            injection: how far the embeddings are moved to the means of these values; 0 is the projection alone.
        """
        rows = np.asarray(embeddings, np.float64)
        moved = self.mean + (rows - self.mean) @ self.matrix
        for column, offsets in zip(labels.T, self.offsets, strict=True):
            given = injection * np.where((column == NULL)[:, None], 0.0, offsets[column])
            moved += given.reshape(len(rows), *(1,) * (rows.ndim - 2), -1)
        return moved.astype(np.float32)
