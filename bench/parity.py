"""How far `minimal` and `projected` are from the counterfactual-parity distribution, by the scales of two attributes."""

from dataclasses import dataclass

from jaxdiff._console.terminal import console, progress


@dataclass(frozen=True)
class Parity:
    """Samples a mixture of two dependent attributes with exact posterior means, and prints the residual of each method.

    Examples:

      python -m bench parity

      python -m bench parity --ratios 1 10 --steps 200
    """

    ratios: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    """Scales R of the other attribute, in units of that of the label."""
    spreads: tuple[float, ...] = (0.02, 0.25)
    """Standard deviations s of each component."""
    target: float = 0.03
    """Least posterior of `minimal`."""
    count: int = 4000
    """Samples per method, half of each label."""
    steps: int = 60
    """Number of DDIM steps."""
    eta: float = 1.0
    """Noise level of DDIM; 0 is deterministic."""
    seed: int = 0
    """Seed of the noise."""


def parity(options: Parity) -> None:
    """Samples, and prints the table."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from rich.table import Table

    from jaxdiff import guidance
    from jaxdiff.fairness import associated_subspace
    from jaxdiff.process import expand, vp_cosine
    from jaxdiff.solvers import DDIM, sample

    process, solver = vp_cosine(), DDIM(options.steps, eta=options.eta, spacing="log_snr")
    c, a = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    shares = np.array([0.45, 0.05, 0.25, 0.25])

    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Exact:
        middle: jax.Array
        spread: jax.Array

        def __call__(self, x, t, condition):
            times = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
            alpha, sigma = expand(process.alpha(times), x), expand(process.sigma(times), x)
            variance = alpha**2 * self.spread**2 + sigma**2
            centred = x[:, None] - alpha[..., None] * self.middle
            log_density = jnp.log(shares) - 0.5 * jnp.square(centred).sum(-1) / variance
            given_c, given_a = condition[:, :1], condition[:, 1:]
            allowed = ((given_c == c) | (given_c < 0)) & ((given_a == a) | (given_a < 0))
            weights = jax.nn.softmax(jnp.where(allowed, log_density, -jnp.inf), -1)
            shrunk = self.middle + (alpha * self.spread**2 / variance)[..., None] * centred
            return jnp.einsum("bk,bkd->bd", weights, shrunk, precision="highest")

    own = np.arange(options.count) % 2
    rows = lambda c, a: np.stack([np.broadcast_to(each, options.count) for each in (c, a)], 1)  # noqa: E731
    null, label = rows(-1, -1), rows(own, -1)
    table = Table(title=f"n = {options.count}, DDIM {options.steps}, eta {options.eta:g}, seed {options.seed}")
    for heading in ("method", "R", "s", "difference of shares", "label kept", "mean of the label's part"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    draw = lambda denoise, condition: sample(  # noqa: E731
        denoise, process, shape=(2,), solver=solver, key=jax.random.key(options.seed), condition=condition
    )
    with progress("sampling", 5 * len(options.ratios) * len(options.spreads)) as advance:
        for name in ("vanilla", "minimal", "projected", "subspace", "following"):
            for spread in options.spreads:
                for ratio in options.ratios:
                    exact = Exact(jnp.asarray(np.stack([2.0 * c - 1, ratio * (2 * a - 1)], 1)), jnp.asarray(spread))
                    if name == "vanilla":
                        x = draw(exact, label)
                    elif name == "minimal":
                        minimal = guidance.minimal(exact, process, target=options.target, values=2)
                        x = draw(minimal, (null, (label, rows(1 - own, -1))))
                    elif name == "projected":
                        x = draw(guidance.projected(exact, counts=(2,)), (null, label, ((rows(-1, 0), rows(-1, 1)),)))
                    else:
                        # at small R little of the directions is of the other attribute, which is decided at a small noise;
                        # exact means show it
                        found = associated_subspace(
                            exact,
                            process,
                            draw(exact, null),
                            (rows(0, -1), rows(1, -1)),
                            key=jax.random.key(options.seed + 1),
                            near=0.1,
                            share=0.999,
                        )
                        follows = process if name == "following" else None
                        x = draw(guidance.projected(exact, subspace=found.rows, process=follows), (null, label, ()))
                    x, sign = np.asarray(x), 2 * own - 1
                    of_group = [(x[own == value, 1] > 0).mean() for value in (0, 1)]
                    kept = (x[:, 0] > 0) == (own == 1)
                    off = ((x[:, 0] - sign) * sign / spread)[kept].mean()
                    table.add_row(
                        name,
                        f"{ratio:g}",
                        f"{spread:g}",
                        f"{of_group[1] - of_group[0]:.3f}",
                        f"{kept.mean():.3f}",
                        f"{off:.2f}",
                    )
                    advance()
    console.print(table)
