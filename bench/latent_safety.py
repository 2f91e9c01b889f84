"""Cost of the safe denoiser and of SLD in latents, compared with a step of classifier-free guidance."""

import statistics
import time
from dataclasses import dataclass

from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class LatentSafety:
    """Counts the operations of a step at the size of Stable Diffusion 1.5 (512 px), and times a step at a quarter of its width
    (256 px): classifier-free guidance, the safe denoiser around it, and SLD. Weights are random, since no cost depends on them.

    Operations are those of matrix products and convolutions. The steps are timed in turn, in processor time of all threads, in
    which other programs on the machine hardly count; the ratios are of each round.

    Examples:

      python -m bench latent-safety

      python -m bench latent-safety --references 4096 --batch-size 2 --rounds 5
    """

    references: int = 515
    """Number of unsafe latents; the authors have 515."""
    batch_size: int = 1
    """Images per batch of the timed steps."""
    rounds: int = 15
    """Timed rounds, after a warm-up."""

    def __post_init__(self):
        for name in ("references", "batch_size", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")


def latent_safety(options: LatentSafety) -> None:
    """Counts and times the steps, and prints the table."""
    from dataclasses import replace
    from functools import partial

    import jax
    import jax.numpy as jnp
    import numpy as np
    from rich.table import Table

    from jaxdiff import guidance
    from jaxdiff._console.flops import matrix_flops
    from jaxdiff.denoiser import NetworkDenoiser
    from jaxdiff.guidance.window import ALWAYS
    from jaxdiff.models.network import condition_unet
    from jaxdiff.models.unet_condition_config import ConditionUNetConfig
    from jaxdiff.process import vp_linear
    from jaxdiff.references import references

    process, rng = vp_linear(), np.random.default_rng(0)
    whole = ConditionUNetConfig()
    quarter = replace(
        whole, size=32, widths=tuple(each // 4 for each in whole.widths), text_channels=192, groups=16
    )  # fmt: skip

    def steps(config, network):
        """Each kind of step, as a function of states and conditions."""
        shape = (config.size, config.size, config.channels)
        text = {"text": jnp.asarray(rng.standard_normal((77, config.text_channels), np.float32))}
        refs = references(rng.standard_normal((options.references, *shape)).astype(np.float32), limits=None)
        denoise = NetworkDenoiser(network, process, "eps")
        plain = guidance.classifier_free(denoise, text, 7.5)
        made = {
            "plain": plain,
            "safe": guidance.safe(plain, process, refs, strength=0.3, window=ALWAYS),
            "SLD": guidance.safe_latent(denoise, process, text, jax.tree.map(jnp.negative, text), scale=7.5, start=1.0),
        }
        rows = options.batch_size
        given = (
            rng.standard_normal((rows, *shape)).astype(np.float32),
            jnp.full(rows, 0.5),
            {"text": jnp.stack([text["text"]] * rows)},
        )
        return made, given

    def step(made, x, t, condition):
        return made.guide(made.denoiser, x, t, condition, made.begin(x))[0] if hasattr(made, "begin") else made(x, t, condition)

    abstract = jax.eval_shape(partial(condition_unet, whole), jax.random.key(0))
    made, given = steps(whole, abstract)
    counted = {name: matrix_flops(step, each, *given) for name, each in made.items()}
    shapes = jax.eval_shape(partial(condition_unet, quarter), jax.random.key(0))
    drawn = jax.tree.map(lambda leaf: jnp.asarray(0.02 * rng.standard_normal(leaf.shape, np.float32)), shapes)
    made, given = steps(quarter, drawn)
    run, seconds = jax.jit(step), {name: [] for name in made}
    with progress("timing", options.rounds + 1) as advance:
        for turn in range(options.rounds + 1):
            for name, each in made.items():
                begun = time.process_time()
                jax.block_until_ready(run(each, *given))
                seconds[name] += [time.process_time() - begun] * (turn > 0)
            advance()
    where = f"{options.references} unsafe latents, batch {options.batch_size}, n = {options.rounds}, "
    table = Table(title=f"{where}{jax.devices()[0].device_kind}, jax {jax.__version__}", title_justify="left")
    for heading in ("step", "TFLOP at full width", "to plain", "processor s at a quarter", "to plain [quartiles]"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for name in made:
        ratios = [own / plain for own, plain in zip(seconds[name], seconds["plain"], strict=True)]
        low, high = np.percentile(ratios, [25, 75])
        table.add_row(
            name, f"{counted[name] / 1e12:.4f}", f"{counted[name] / counted['plain']:.6f}",
            f"{statistics.median(seconds[name]):.3f}", f"{statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]",
        )  # fmt: skip
    console.print(table)
