"""Roughness: how much neighbouring pixels differ, which tells blurred and noisy images from sharp ones without a network."""

import numpy as np
from jaxtyping import Float64, UInt8

from jaxdiff.errors import InputError


def roughness(images: UInt8[np.ndarray, "n h w c"]) -> Float64[np.ndarray, " n"]:
    """The root of the mean square of each image's Laplacian, in grey levels (N,).

    The Laplacian is that of four neighbours, over all pixels that have them; its energy is a common measure of focus
    (Pertuz, Puig and Garcia 2013). An image of one colour has 0; noise of variance s² a pixel has the root of 20 s².

    Arguments:
        images: at least 3x3 pixels.

    Raises:
        InputError: smaller images.
    """
    if min(images.shape[1:3]) < 3:
        raise InputError(f"`images` must be at least 3x3, got {images.shape[1]}x{images.shape[2]}")
    answers = np.empty(len(images))
    for i, image in enumerate(images):
        pixels = image.astype(np.int64)
        centre = pixels[1:-1, 1:-1]
        laplacian = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * centre
        answers[i] = np.sqrt(np.square(laplacian).mean())
    return answers
