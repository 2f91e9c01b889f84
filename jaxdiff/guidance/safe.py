"""The training-free safe denoiser: the posterior mean, moved away from a set of unsafe images (Kim et al. 2025)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.record import Record, Recording
from jaxdiff.guidance.safe_latent import SafeLatent
from jaxdiff.guidance.scale import scale_of
from jaxdiff.guidance.weights import ClassifierOdds, Constant, Density, Evidence, Odds, Weight, tracked
from jaxdiff.guidance.window import ALWAYS, Window, window
from jaxdiff.parallel import replicate, stacked, unstacked
from jaxdiff.process import Process, expand
from jaxdiff.references import References, references

KERNELS = ("noised", "laplace")
EARLY = (0.0, 0.5)
"""The window in which coarse features of small faces are determined, as measured for the embedded faces. The authors'
text-to-image runs act at t >= 780 of Stable Diffusion's 1000, an SNR of at most 0.046."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noised:
    """E_unsafe as the exact posterior mean of noised references. It is exact at `temperature` 1."""

    references: References
    temperature: Float[Array, ""]

    def look(self, process: Process, x: Array, t: Array, estimate: Array) -> tuple[Array, Array, Array, Array]:
        """E_unsafe, log sum, log mean kernel and deviation of the nearest reference, of states x at times t."""
        seen = self.references.noised(process, x, t, self.temperature)
        log_kernel = self.references.log_kernel(process, x, t, self.temperature, seen.log_sum)
        return seen.mean, seen.log_sum, log_kernel, seen.deviation


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OnEstimate:
    """E_unsafe as the mean of references under a Laplace kernel around the posterior mean, as in the authors' code."""

    references: References
    bandwidth: Float[Array, ""]

    def look(self, process: Process, x: Array, t: Array, estimate: Array) -> tuple[Array, Array, Array, Array]:
        """See `Noised.look`; the deviation is not defined."""
        mean, log_kernel = self.references.laplace(estimate, self.bandwidth)
        return mean, log_kernel, log_kernel, jnp.full_like(log_kernel, -jnp.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Safe(Recording):
    """See `safe` and `dynamic_negative`.

    `unsafe` is `Noised` or `OnEstimate` references, or None for the network's posterior mean under `unsafe_condition`. `form`
    is the form of classifier-free guidance with `null`; None for the plain one, with `scale`.
    """

    process: Process
    unsafe: Noised | OnEstimate | None
    unsafe_condition: Any
    weight: Weight
    window: Window
    strength: Float[Array, ""]
    threshold: Float[Array, ""]
    deviation: Float[Array, ""]
    cap: Float[Array, ""]
    null: Any
    scale: Float[Array, ""]
    form: SafeLatent | None = None

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The edges of the window, and the breakpoints of the form of guidance."""
        inside = () if self.form is None else self.form.own_breakpoints()
        return (*inside, *self.window.breakpoints(self.strength > 0))

    @property
    def _rows(self) -> int:
        """The number of conditions to evaluate."""
        return 1 + (self.null is not None) + (self.form is not None) + (self.unsafe is None)

    def inner_states(self, x: Array) -> Array:
        """x for the condition, those of the form of guidance if it is applied here, and the unsafe one if there is one."""
        return stacked(*[x] * self._rows) if self._rows > 1 else x

    def begin(self, x: Array) -> tuple[Any, Record]:
        """The memories of the weight and of the form of guidance, and an empty record."""
        return (self.weight.begin(x), () if self.form is None else self.form.begin(x)), Record.empty(len(x))

    def guide(
        self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The safe posterior mean, and the memory."""
        if self.unsafe is not None and self.unsafe.references.shape != x.shape[1:]:
            raise InputError(f"`unsafe` must be images of the samples' shape {x.shape[1:]}, got {self.unsafe.references.shape}")
        times = replicate(jnp.broadcast_to(jnp.asarray(t), x.shape[:1]))
        (own, of_form), record = memory
        guided, anchor, unsafe, of_form = self._means(denoise, x, times if self._rows > 1 else t, condition, of_form)
        held = self.window.holds(times) & (self.strength > 0)

        def act(memory):
            own, record = memory
            if self.unsafe is None:
                nothing = jnp.zeros(len(x), anchor.dtype)
                evidence = Evidence(self.process, x, times, anchor, unsafe, nothing, nothing)
                deviation = nothing
            else:
                mean, log_sum, log_kernel, deviation = self.unsafe.look(self.process, x, times, anchor)
                evidence = Evidence(self.process, x, times, anchor, mean.astype(anchor.dtype), log_sum, log_kernel)
            base, own = self.weight(evidence, own)
            fires = held & (base >= self.threshold) & (deviation <= self.deviation)
            weight = jnp.where(fires, jnp.minimum(self.strength * base, self.cap), 0.0).astype(anchor.dtype)
            moved = guided + expand(weight, x) * (anchor - evidence.unsafe)
            # weight 0 leaves the sample unchanged, whatever the references are
            return jnp.where(expand(weight > 0, x), moved, guided), (own, record.after(times, held, weight))

        safe, (own, record) = jax.lax.cond(replicate(held).any(), act, lambda memory: (guided, memory), (own, record))
        return safe, ((own, of_form), record)

    def _means(self, denoise, x, t, condition, memory) -> tuple[Array, Array, Array, Any]:
        """The guided mean, the anchor, the mean under the last condition, the unsafe one if there is one, and the memory of the
        form of guidance."""
        if self._rows == 1:
            mean = denoise(x, t, condition)
            return mean, mean, mean, memory
        concept = None if self.form is None else self.form.unsafe
        others = [other for other in (self.null, concept, self.unsafe_condition) if other is not None]
        filled = [jax.tree.map(lambda n, c: jnp.broadcast_to(n, c.shape).astype(c.dtype), other, condition) for other in others]
        conditions = stacked(condition, *filled)
        means = unstacked(denoise(self.inner_states(x), stacked(*[t] * self._rows), conditions), self._rows)
        own = means[0]
        if self.null is None:
            return own, own, means[-1], memory
        if self.form is not None:
            guided, memory = self.form.combined(own, means[1], means[2], t, scale_of(self.form.scale, condition, x), memory)
            return guided, means[1], means[-1], memory
        # in this form scale 1 is exactly the conditional mean
        return own + (self.scale - 1) * (own - means[1]), means[1], means[-1], memory


def safe(
    denoise: Callable,
    process: Process,
    unsafe: Any,
    *,
    strength: ArrayLike = 1.0,
    weight: Any = "constant",
    kernel: str = "noised",
    temperature: Any = None,
    bandwidth: float | None = None,
    window: Sequence[float | int] = EARLY,
    threshold: ArrayLike = 0.0,
    deviation: ArrayLike = math.inf,
    cap: ArrayLike = 5.0,
    null: Any = None,
    scale: ArrayLike = 1.0,
) -> Safe:
    """Moves each posterior mean away from a set of unsafe images, without training (Kim et al. 2025, arXiv 2502.08011):

        E_safe = E_data + beta (E_data - E_unsafe),    beta = strength weight(x_t).

    With the posterior odds of unsafe as the weight, strength 1, temperature 1 and no window, threshold or cap, this is the
    posterior mean of the safe data (theorem 3.2), so samples follow the safe distribution. Every other weight is an
    approximation with a tuned strength.

    For each sample, beta is 0 if the weight is below `threshold` or the nearest reference is farther than `deviation`, and
    outside the window; it is at most `cap`. Strength 0 or an empty window is the plain sampler, bit for bit.

    Apply `clipped` outside it, since the moved mean may leave the range of the data.

    Arguments:
        denoise: the denoiser inside, which may be a guidance: `safe(switching(...))` is fair and safe.
        process: the forward process.
        unsafe: (N, ...) images in [-1, 1], or `References` in any scale.
        strength: eta, at least 0.
        weight: `constant` (1), `density` (the mean kernel of the unsafe images, in [0, 1]), or a `Weight`: `odds(...)` of known
            safe images, `classifier_odds(...)`, `tracked(...)` along the sample's path, which needs a DDPM solver.
        kernel: `noised` weights references by their noised density at x_t, the exact posterior up to `temperature`; `laplace`
            by their distance to the posterior mean, as in the authors' code.
        temperature: divides the logits, above 0. 1 is the exact posterior mean, which in high dimensions is the nearest image
            at low noise and a local mean at high noise; `root` and `dimension` (the square root of D, and D) are closer to the
            plain mean. None is `dimension` for the weight `density`, which would underflow to 0 at 1, and 1 otherwise.
        bandwidth: of `laplace`, above 0, in the data's units; the authors use 3.15 for their latents.
        window: SNR between which it acts, alpha² / sigma²; an edge within the schedule is a node of the solver's grid.
        threshold: the minimum weight, before the strength, at which it acts.
        deviation: the maximum (||x_t - alpha x_n||² / sigma² - D) / sqrt(2 D) of the nearest reference x_n at which it acts:
            a noised reference itself rarely exceeds 3. Needs the kernel `noised`.
        cap: the maximum of beta; the error of the posterior mean grows by 1 + beta.
        null: the null condition, see `classifier_free`. With it the unconditional mean is moved, and classifier-free guidance
            with `scale` is added, the order of the paper (eq. 8): E_safe + scale (E_condition - E_data). With `safe_latent` as
            `denoise` its guidance is added, with its own scale (eq. 9), in one evaluation. For the other order, leave `null`
            out: `safe(classifier_free(...))`, `safe(safe_latent(...))`.
        scale: of classifier-free guidance with `null`.

    Raises:
        InputError: the set is empty or invalid, a name is unknown, a number is out of range, or the window is outside the
            schedule.
    """
    if kernel not in KERNELS:
        raise InputError(f"`kernel` must be one of {', '.join(KERNELS)}, got {kernel!r}")
    refs = unsafe if isinstance(unsafe, References) else references(unsafe)
    weight = _weight(weight, refs)
    dimension = math.prod(refs.shape)
    if kernel == "laplace":
        if bandwidth is None or not bandwidth > 0:
            raise InputError(f"`bandwidth` must be above 0 for the kernel laplace, got {bandwidth}")
        if weight.needs == "exact" or deviation != math.inf:
            raise InputError("`weight` odds and `deviation` need the kernel noised, got kernel 'laplace'")
        source = OnEstimate(refs, jnp.asarray(bandwidth, jnp.float32))
    else:
        if bandwidth is not None:
            raise InputError(f"`bandwidth` is only for the kernel laplace, got {bandwidth} with kernel {kernel!r}")
        named = {"dimension": float(dimension), "root": math.sqrt(dimension)}
        if temperature is None:
            temperature = "dimension" if isinstance(weight, Density) else 1.0
        if isinstance(temperature, str) and temperature not in named:
            raise InputError(f"`temperature` must be a number above 0 or one of {', '.join(named)}, got {temperature!r}")
        number = named[temperature] if isinstance(temperature, str) else temperature
        if not isinstance(number, jax.core.Tracer) and not number > 0:
            raise InputError(f"`temperature` must be above 0, got {number}")
        if weight.needs == "exact" and number != 1:
            raise InputError(f"`weight` odds need exact posteriors: `temperature` must be 1, got {temperature}")
        source = Noised(refs, jnp.asarray(number, refs.centre.dtype))
    return _made(denoise, process, source, None, weight, strength, window, threshold, deviation, cap, null, scale)


def dynamic_negative(
    denoise: Callable,
    process: Process,
    condition: Any,
    *,
    strength: ArrayLike = 5.0,
    weight: Any = None,
    window: Sequence[float | int] = ALWAYS,
    threshold: ArrayLike = 0.0,
    cap: ArrayLike = math.inf,
    null: Any = None,
    scale: ArrayLike = 1.0,
) -> Safe:
    """Dynamic negative guidance (Koulischer et al. 2025): the safe denoiser with the network's posterior mean under an
    unsafe condition as E_unsafe, and the odds tracked along the path as weight. It costs a second evaluation per step.

    Arguments:
        condition: the unsafe condition, in the form of the null condition of `classifier_free`.
        strength: lambda; 5 in the authors' example.
        weight: a `Weight` that needs no references; by default `tracked()`; or `constant` for a fixed strength.
        denoise, process, window, threshold, cap, null, scale: see `safe`.

    Raises:
        InputError: see `safe`.
    """
    weight = tracked() if weight is None else _weight(weight, None)
    condition = jax.tree.map(jnp.asarray, condition)
    return _made(denoise, process, None, condition, weight, strength, window, threshold, math.inf, cap, null, scale)


def odds(
    safe: Any, unsafe: References, *, prior: float | None = None, limits: tuple[float, float] | None = (-1.0, 1.0)
) -> Odds:
    """The exact weight: posterior odds of unsafe, with both distributions known as sets of images.

    Arguments:
        safe: (N, ...) safe images, in the data's scale.
        unsafe: the unsafe references, to be passed to `safe` with this weight.
        prior: P(unsafe); None uses the share of unsafe images in both sets.
        limits: see `references`.

    Raises:
        InputError: the images are invalid, or the prior is outside (0, 1).
    """
    if prior is not None and not 0 < prior < 1:
        raise InputError(f"`prior` must lie in (0, 1), got {prior}")
    known = references(safe, centre=unsafe.centre, limits=limits, tile=unsafe.tiles.shape[1], mesh=unsafe.mesh)
    shift = 0.0 if prior is None else math.log(prior / (1 - prior)) - math.log(unsafe.count / known.count)
    return Odds(known, jnp.asarray(shift, known.centre.dtype))


def classifier_odds(log_odds: Callable) -> ClassifierOdds:
    """The weight by a classifier of noised images: `log_odds(x, t)` gives log P(unsafe | x_t) / P(safe | x_t), (B,)."""
    return ClassifierOdds(as_denoiser(log_odds))


def _weight(weight: Any, refs: References | None) -> Weight:
    named = {"density": Density(), "constant": Constant()}
    if isinstance(weight, str) and weight in named:
        weight = named[weight]
    if not isinstance(weight, Weight):
        raise InputError(f"`weight` must be one of {', '.join(named)} or a Weight, got {weight!r}")
    if weight.needs and refs is None:
        raise InputError(f"`weight` {type(weight).__name__} needs unsafe references, but an unsafe condition is given")
    if isinstance(weight, Odds) and refs is not None and not _belong(weight.safe, refs):
        raise InputError("`weight` odds were made for other unsafe references: pass the same to `odds` and `safe`")
    return weight


def _belong(safe: References, unsafe: References) -> bool:
    """Whether safe references were made for these unsafe ones."""
    return safe.shape == unsafe.shape and np.array_equal(safe.centre, unsafe.centre)


def _made(denoise, process, source, condition, weight, strength, snr, threshold, deviation, cap, null, scale) -> Safe:
    for name, value in (("strength", strength), ("threshold", threshold), ("cap", cap)):
        if not isinstance(value, jax.core.Tracer) and not float(np.asarray(value)) >= 0:
            raise InputError(f"`{name}` must be at least 0, got {value}")
    form = denoise if null is not None and isinstance(denoise, SafeLatent) else None
    numbers = [jnp.asarray(value, jnp.float32) for value in (strength, threshold, deviation, cap)]
    return Safe(
        as_denoiser(denoise if form is None else form.denoiser),
        process,
        source,
        condition,
        weight,
        window(process, snr),
        *numbers,
        None if null is None else jax.tree.map(jnp.asarray, null),
        jnp.asarray(scale, jnp.float32),
        form,
    )
