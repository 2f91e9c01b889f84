"""`jaxdiff train` of the smallest network there is, for tests of real processes: most of their time is compiling."""

import numpy as np
import tyro

from jaxdiff._console.device import prepare
from jaxdiff._console.terminal import run
from jaxdiff.data import ArraySource, Attribute
from jaxdiff.models.config import UNetConfig
from jaxdiff.process import vp_cosine
from jaxdiff.training import Objective, Optimization
from tests import lowering
from train.diffusion import Diffusion
from train.options import Options
from train.run import join, run_task

SIZE, COUNT = 8, 64
NETWORK = UNetConfig(
    size=SIZE, values=(2,), base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2
)
OBJECTIVE, OPTIMIZATION = Objective(), Optimization(learning_rate=1e-3, warmup=2)


def source() -> ArraySource:
    """64 images: a run of batches of 16 goes into its second epoch at step 5."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    return ArraySource(images, rng.integers(0, 2, (COUNT, 1), np.int32), [Attribute("group", ("square", "round"))])


def main() -> None:
    """Takes the options of `jaxdiff train`, and trains the small network."""
    options = tyro.cli(Options)
    prepare()
    lowering.share()
    mesh = join(options)
    task = Diffusion(NETWORK, vp_cosine(), OBJECTIVE, OPTIMIZATION, options.steps or 8, options.batch_size or 16)
    run_task(options, task, source(), mesh)


if __name__ == "__main__":
    run(main)
