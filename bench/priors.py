"""A picture of every prior of bridges."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PriorPictures:
    """Draws what x_T is for every prior, fitted to random walks of prices: the documentation's picture.

    Examples:

      python -m bench priors --out docs/images/priors.png
    """

    out: Path = Path("out/priors.png")
    """The picture."""
    seed: int = 0
    """Random seed of the series and of x_T."""


def prior_pictures(options: PriorPictures) -> None:
    """Fits the priors and draws the picture."""
    import jax
    import numpy as np

    from jaxdiff._console.plots import COLOURS, figure
    from jaxdiff._console.terminal import console
    from jaxdiff.priors import PRIORS

    rng, length, shown = np.random.default_rng(options.seed), 24, 3
    # open, high, low and close of days with 16 trades; the walk is scaled to [-1, 1]
    walk = np.cumsum(rng.standard_normal((2048, length * 16)) / 40, axis=1).reshape(-1, length, 16)
    prices = np.stack([walk[..., 0], walk.max(-1), walk.min(-1), walk[..., -1]], axis=-1)
    x0 = prices / np.abs(prices).max()
    window = x0[np.argmax(np.ptp(x0[..., 3], axis=1))]
    settings = {"gp": {"kernel": "rbf", "length": 3.0, "variance": 0.1}}
    with figure(options.out, 3, 3, figsize=(10, 7), sharex=True, sharey=True) as (fig, axes):
        for axis, (name, kind) in zip(axes.flat, PRIORS.items(), strict=True):
            prior = kind.fit(x0, options.seed, **settings.get(name, {}))
            axis.plot(window[:, 3], color="0.6", linewidth=3, label="x_0, a training series")
            for i in range(1 if prior.paired else shown):
                key = jax.random.key(options.seed + i)
                end, known = prior.pair(key, window) if prior.paired else prior.draw(key, x0.shape[1:])
                axis.plot(end[:, 3], color=COLOURS[0], linewidth=1, label="x_T" if i == 0 else None)
                if known is not None:
                    feature = 0 if name == "ohlc" else 3
                    at = np.flatnonzero(np.asarray(known)[:, feature])
                    label = "values that samples keep"
                    axis.plot(at, np.asarray(end)[at, feature], "o", color=COLOURS[1], markersize=4, label=label)
            axis.set_title(name + (", the closing price" if name == "ohlc" else ""), fontsize=10)
        axes[-1, 0].set(xlabel="time step", ylim=(-1.6, 1.6))
        handles, labels = axes.flat[list(PRIORS).index("fixed")].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3)
    console.print(f"wrote {options.out}", highlight=False)
