"""Negative guidance away from concepts of a text-to-image model: the forms with both anchors, by hand and by the library."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import load as load_model
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, sample
from sample.command_line import made
from sample.drawing import Drawing
from sample.options import Draw
from sample.setting import setting
from tests import small_pipeline
from tests.sample.modifying import first

STEPS, SCALE, PROMPT, CONCEPT = 5, 3.0, "a photo of a man", "a woman"
ALWAYS = (0.0, math.inf)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_pipeline.folder(tmp_path_factory.mktemp("pipelines") / "small", shallow=True)


@pytest.fixture(scope="module")
def unsafe(tmp_path_factory):
    """A file of unsafe images."""
    file = tmp_path_factory.mktemp("unsafe") / "unsafe.npz"
    np.savez(file, images=np.random.default_rng(3).integers(0, 256, (4, 16, 16, 3), np.uint8))
    return file


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def drawing_of(folder, *, attribute=None, **options) -> Drawing:
    given = {"attribute": attribute} if attribute else {"prompt": PROMPT}
    common = {"count": 2, "solver": "ddim", "steps": STEPS, "guidance_scale": SCALE}
    chosen = made(Draw, model=folder, out=folder / "set", **{**given, **common, **options})
    ready = setting(chosen.model, attribute, (), chosen, method=chosen.method, start=chosen.method.start)
    (_, method), *_ = chosen.method.sets(chosen, ready)
    return Drawing(ready, method)


def drawn(model, denoise, condition=None) -> np.ndarray:
    """What the library draws."""
    condition = model.conditions.encode_prompts([PROMPT] * 2) if condition is None else condition
    solver = DDIM(STEPS, **model.grids["ddim"])
    x = sample(denoise, model.process, shape=model.shape, solver=solver, key=jax.random.key(0), condition=condition)
    return np.asarray(x)


def by_hand(model, combine):
    """A mean of those without a prompt, of the prompt and of the concept, each evaluated alone."""
    others = [model.conditions.encode_prompts([text] * 2) for text in ("", CONCEPT)]

    def denoise(x, t, condition):
        null, concept = (model.denoise(x, t, other) for other in others)
        return combine(null, model.denoise(x, t, condition), concept)

    return denoise


FORMS = {
    "from the guided mean": (
        {"guard": "negative", "strength": 0.5},
        lambda null, own, unsafe: null + SCALE * (own - null) + 0.5 * SCALE * (own - unsafe),
    ),
    "from the unconditional mean": (
        {"guard": "negative", "anchor": "unconditional", "strength": 0.5},
        lambda null, own, unsafe: null + SCALE * (own - null) + 0.5 * (null - unsafe),
    ),
    "towards the prompt and away from the concept": (
        {"guard": "negative", "anchor": "unconditional", "strength": SCALE},
        lambda null, own, unsafe: null + SCALE * (own - unsafe),
    ),
    "dynamic, of weight 1": (
        {"guard": "dynamic_negative", "guard_weight": "constant", "anchor": "unconditional", "strength": 0.5, "window": ALWAYS},
        lambda null, own, unsafe: null + SCALE * (own - null) + 0.5 * (null - unsafe),
    ),
}


# from the unconditional mean as well, of other strengths
AGAIN = {"from the unconditional mean", "towards the prompt and away from the concept"}


@pytest.mark.parametrize("form", [pytest.param(form, marks=[pytest.mark.slow] * (form in AGAIN)) for form in FORMS])
def test_negative_guidance_takes_concepts(folder, form):
    options, combine = FORMS[form]
    drawing = drawing_of(folder, unsafe_concepts=(CONCEPT,), **options)
    model = load_model(folder)
    there = drawn(model, by_hand(model, combine))
    np.testing.assert_allclose(first(drawing), there, rtol=1e-4, atol=2e-3)
    assert drawing.settings()["unsafe_concepts"] == [CONCEPT] and "unsafe_label" not in drawing.settings()
    # from the guided mean, which is evaluated for the concept too, a step takes four evaluations
    assert drawing.evaluations == (4 if options.get("anchor") is None else 3) * STEPS


def test_without_concepts_there_is_no_guard(folder, tmp_path):
    (tmp_path / "none.txt").write_text("")
    for guard in ("negative", "dynamic_negative"):
        more = {"guard_weight": "constant"} if guard == "dynamic_negative" else {}
        none = drawing_of(folder, guard=guard, unsafe_concepts=(str(tmp_path / "none.txt"),), **more)
        plain = drawing_of(folder)
        np.testing.assert_array_equal(first(none), first(plain))
        assert none.settings() == plain.settings()


def test_tracked_odds_are_of_the_concept(folder):
    common = {"guard": "dynamic_negative", "solver": "ddpm", "window": ALWAYS, "cap": 2.0}
    one, other = (first(drawing_of(folder, unsafe_concepts=(text,), **common)) for text in (CONCEPT, "photo"))
    assert np.isfinite(one).all() and np.abs(one - other).max() > 1e-3


def test_every_prompt_of_a_pair_and_its_own_scale_stay(folder):
    """The concept takes the place of both prompts of switching, and not of an image's scale of guidance."""
    model = load_model(folder)
    rows = {**model.conditions.encode_prompts(["a man", "a woman"]), "guidance": jnp.asarray([2.0, 4.0])}
    conditions = model.conditions.with_prompts((), ("",), scales=(1.0,))
    put = conditions.replacing_all(CONCEPT)((rows, rows))
    concept = model.conditions.encode_prompts([CONCEPT])["text"][0]
    for each in put:
        np.testing.assert_array_equal(each["guidance"], [2.0, 4.0])
        np.testing.assert_array_equal(each["text"], np.broadcast_to(concept, rows["text"].shape))


@pytest.mark.parametrize("anchor", [pytest.param("guided", marks=pytest.mark.slow), "unconditional"])
def test_sld_and_the_safe_denoiser_combine_in_both_orders(folder, unsafe, anchor):
    """As many evaluations as SLD alone."""
    common = {"sld": "max", "sld_strength": 30.0, "unsafe_concepts": (CONCEPT,), "unsafe": str(unsafe), "window": ALWAYS}
    drawing = drawing_of(folder, anchor=anchor, strength=0.4, temperature="dimension", **common)
    model = load_model(folder)
    refs = references(model.space.encode(np.load(unsafe)["images"]), limits=None)
    null, concept = model.conditions.null, jax.tree.map(lambda leaf: leaf[0], model.conditions.encode_prompts([CONCEPT]))
    numbers = {"strength": 30.0, "threshold": 1.0, "start": 1.0, "momentum": 0.5, "momentum_decay": 0.7}
    sld = guidance.safe_latent(model.denoise, model.process, null, concept, scale=SCALE, **numbers)
    more = {} if anchor == "guided" else {"null": null}
    both = guidance.safe(sld, model.process, refs, strength=0.4, temperature="dimension", window=ALWAYS, **more)
    np.testing.assert_allclose(first(drawing), drawn(model, both), rtol=1e-4, atol=2e-3)
    assert drawing.evaluations == 3 * STEPS
    assert drawing.settings()["modifiers"]["safe_latent"]["unsafe_concepts"] == [CONCEPT]


def test_a_switched_prompt_is_guarded_around_the_method(folder, unsafe):
    """With the unconditional anchor SLD is around switching, whose condition is a pair of prompts."""
    common = {
        "attribute": "group: a man | a woman", "method": "switching", "tau": (1.0,), "sld": "max", "unsafe": str(unsafe),
        "unsafe_concepts": ("photo",), "anchor": "unconditional", "temperature": "dimension",
    }  # fmt: skip
    switched = first(drawing_of(folder, **common))
    never = first(drawing_of(folder, **{**common, "method": "vanilla", "tau": ()}))
    np.testing.assert_allclose(switched, never, rtol=1e-4, atol=2e-3)
