"""Roughness: the difference between neighbouring pixels, which detects blurred and noisy images without a network."""

import numpy as np
from jaxtyping import Float64, UInt8

from jaxdiff.errors import InputError


def image_roughness(images: UInt8[np.ndarray, "n h w c"]) -> Float64[np.ndarray, " n"]:
    """The root mean square of each image's Laplacian, in grey levels (N,).

    The four-neighbour Laplacian over all inner pixels; its energy is a common measure of focus (Pertuz, Puig and Garcia
    2013). An image of one colour has roughness 0, white noise of variance s² has sqrt(20) s.

    Arguments:
        images: uint8 (N, H, W, C), at least 3x3 pixels.

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
