"""References of other programs: statistics of pytorch-fid and clean-fid, and reference batches of guided-diffusion."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxdiff.errors import InputError
from jaxdiff.finished import file_checksum
from jaxdiff.npz_file import load_npz
from jaxdiff.quality.estimate import Estimate
from jaxdiff.quality.moments import Normal, frechet_estimate_to

SYMMETRIC = 1e-3
"""The largest difference between a covariance and its transpose, relative to its largest entry; float32 sums have 1e-6."""


@dataclass(frozen=True)
class ReferenceFile:
    """What a file holds of real images.

    Fields:
        path: the file.
        checksum: the first 16 hexadecimal digits of its SHA-256.
        normal: mean and covariance of the features of its images; None without them. Their network and resize are not stored
            in any of these files.
        images: uint8 (N, H, W, 3); None without them.
        spatial: whether it also has the statistics `mu_s` and `sigma_s` of sFID, which are not used here.
    """

    path: Path
    checksum: str
    normal: Normal | None
    images: UInt8[np.ndarray, "n h w 3"] | None
    spatial: bool

    @property
    def of_guided_diffusion(self) -> bool:
        """Whether guided-diffusion wrote the file: others have no images beside their statistics, and none of sFID."""
        return self.spatial or self.images is not None

    def describe(self) -> Mapping[str, Any]:
        """A JSON-serialisable description for reports."""
        held = {"statistics": self.normal is not None, "images": 0 if self.images is None else len(self.images)}
        return {"file": self.path.name, "checksum": self.checksum, **held}

    def require(self, dimension: int, name: str) -> None:
        """Raises `InputError` unless the statistics, if any, are of as many features as an extractor has."""
        if self.normal is not None and len(self.normal.mean) != dimension:
            raise InputError(
                f"{self.path} holds statistics of {len(self.normal.mean)} features, which are of another network than the "
                f"{dimension} features of {name}"
            )

    def frechet(self, features: Any) -> Estimate:
        """The Fréchet distance of features (N, D) from the statistics, see `frechet_estimate_to`."""
        if self.normal is None:
            raise InputError(f"{self.path} holds no statistics `mu` and `sigma`")
        return frechet_estimate_to(self.normal, features)


def load_reference(path: str | os.PathLike) -> ReferenceFile:
    """Reads a reference file.

    Arguments:
        path: an .npz file with `mu` (D,) and `sigma` (D, D), as pytorch-fid, clean-fid and guided-diffusion write them; with
            uint8 images `arr_0` (N, H, W, 3), as guided-diffusion's samples and reference batches are; or with both.

    Raises:
        InputError: no such file, a damaged one, one with neither, or arrays that are not as described: not finite, no
            covariance.
    """
    path = Path(path)
    arrays = load_npz(path, ("mu", "sigma", "arr_0"))
    normal = images = None
    if {"mu", "sigma"} <= arrays.keys():
        normal = _normal(arrays["mu"], arrays["sigma"], path)
    if "arr_0" in arrays:
        images = arrays["arr_0"]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
            raise InputError(f"`arr_0` of {path} must be uint8 images (N, H, W, 3), got {images.dtype} {images.shape}")
    if normal is None and images is None:
        raise InputError(
            f"{path} must have the arrays `mu` and `sigma`, or the images `arr_0`; it has {', '.join(arrays) or 'none'}"
        )
    return ReferenceFile(path, file_checksum(path), normal, images, {"mu_s", "sigma_s"} <= arrays.keys())


def _normal(mean: Any, covariance: Any, path: Path) -> Normal:
    """Checked statistics, in float64."""
    if any(each.dtype.kind != "f" for each in (mean, covariance)):
        raise InputError(f"`mu` and `sigma` of {path} must be floating point, got {mean.dtype} and {covariance.dtype}")
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise InputError(
            f"`mu` and `sigma` of {path} must be of shape (D,) and (D, D), got {mean.shape} and {covariance.shape}"
        )
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise InputError(f"`mu` and `sigma` of {path} must be finite, got NaN or infinity")
    skew = float(np.abs(covariance - covariance.T).max())
    if skew > SYMMETRIC * np.abs(covariance).max() or (np.diag(covariance) < 0).any():
        raise InputError(f"`sigma` of {path} must be a covariance, symmetric with variances of at least 0 on its diagonal")
    return Normal(mean, (covariance + covariance.T) / 2)
