"""The Fréchet distance under the resizes of different programs, on the same images."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.terminal import console, progress


@dataclass(frozen=True)
class Resizing:
    """Measures, for each resize that programs use, how far the input of the Inception network is from that of TensorFlow's
    resize (root mean square, in grey levels), and the Fréchet distance of generated faces from: the same faces under
    TensorFlow's resize, other faces, and blurred faces.

    Without --inception the network has random weights: such distances are not FID, but show what the resize does to one.

    Examples:

      python -m bench resizing

      python -m bench resizing --count 2048 --inception weights-inception-2015-12-05-6726825d.pth
    """

    count: int = 128
    """Number of images of each set."""
    size: int = 32
    """Height and width of the images, in pixels."""
    inception: Path | None = None
    """Weights of the FID Inception network."""
    batch: int = 32
    """Images per batch."""
    seed: int = 0
    """Random seed of the images, and of random weights."""


def resizing(options: Resizing) -> None:
    """Extracts the features and prints the table."""
    from dataclasses import replace

    import jax.numpy as jnp
    import numpy as np
    from rich.table import Table
    from scipy import ndimage

    from jaxdiff.data import embedded
    from jaxdiff.quality import Moments, frechet_distance, inception
    from jaxdiff.quality.resizing import RESIZES

    def random() -> inception.Inception:
        """Kernels of He et al. (2015), under which activations keep their size."""
        rng, weights = np.random.default_rng(options.seed), {}
        for name, shape in inception.shapes().items():
            kernel = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:3])))
            weights[name] = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(shape[3])}
        return inception.Inception(weights, source="random", checksum=f"random, seed {options.seed}", batch=options.batch)

    network = inception.load(options.inception, batch=options.batch) if options.inception else random()
    faces, _ = embedded.generate(np.arange(2 * options.count), size=options.size, seed=options.seed)
    own, other = faces[: options.count], faces[options.count :]
    binomial = np.array([0.25, 0.5, 0.25])
    blurred = ndimage.convolve1d(ndimage.convolve1d(own.astype(np.float64), binomial, 1), binomial, 2)
    sets = {"own": own, "other": other, "blurred": np.rint(blurred).astype(np.uint8)}
    moments = {}
    with progress("extracting features", len(RESIZES) * len(sets), unit="sets") as advance:
        for resize in RESIZES:
            for name, images in sets.items():
                moments[resize, name] = Moments.from_features(replace(network, resize=resize)(images))
                advance(1, note=f"{resize}, {name}")
    inputs = {resize: np.asarray(inception.prepare(jnp.asarray(own), resize)) * 128 + 128 for resize in RESIZES}
    title = f"{options.count} faces of {options.size}x{options.size}, weights {network.source}"
    table = Table(title=title, title_justify="left")
    for heading in ("resize", "difference of the input", "same faces, tensorflow", "other faces", "blurred faces"):
        table.add_column(heading, justify="left" if heading == "resize" else "right")
    for resize in RESIZES:
        difference = np.sqrt(np.square(inputs[resize] - inputs["tensorflow"]).mean())
        apart = [
            frechet_distance(moments[resize, "own"], moments[against])
            for against in (("tensorflow", "own"), (resize, "other"), (resize, "blurred"))
        ]
        table.add_row(resize, f"{difference:.2f}", *(f"{distance:.4g}" for distance in apart))
    console.print(table)
