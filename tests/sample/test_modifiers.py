"""Modifiers with every method: supported pairs, their cost, and no recompiling when a number changes."""

from itertools import cycle, product

import jax
import numpy as np
import pytest

from jaxdiff import model as models
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, driver, sample
from sample.command_line import made
from sample.draw import draw
from sample.modifiers import MODIFIERS
from sample.options import Draw, Search
from sample.search import search
from tests.sample.modifying import (
    OF_LABELS,
    OF_PROMPTS,
    STEPS,
    VALUES,
    drawing_of,
    evaluations_made,
    first,
    given_of,
    options_of,
    trace,
)

REFUSED = {
    *product(["editing", "inpainting"], ["safe", "repellency", "safety_flow", "negative", "dynamic_negative"]),
    *product(["fair_diffusion", "spectral"], ["adaptive_projected", "safe_latent"]),
    *product(["fair_diffusion", "editing"], ["interval"]),
}
"""The pairs of a method and a modifier that there are not."""
pytestmark = pytest.mark.usefixtures("own_cache")


def test_every_modifier_is_tried():
    assert {*VALUES, *OF_PROMPTS} == set(MODIFIERS)


@pytest.mark.parametrize("method", OF_LABELS)
@pytest.mark.parametrize("traced", ["a third", pytest.param("the rest", marks=pytest.mark.slow)])
def test_a_method_combines_with_every_modifier_or_says_why_not(folder, guide, method, traced):
    """Shapes alone: the program of each pair is traced, of a third of them in `make test`; each modifier with two methods."""
    for place, name in enumerate(VALUES, OF_LABELS.index(method)):
        if (method, name) in REFUSED:
            flag = MODIFIERS[name].spelled()
            with pytest.raises(InputError, match=f"got --method {method} with {flag}|{method} .*does not support {flag}"):
                options_of(folder, guide, method, [name])
            continue
        drawing = drawing_of(options_of(folder, guide, method, [name]))
        if (place % 3 == 0) == (traced == "a third"):
            trace(drawing)
        assert drawing.evaluations >= STEPS, name


@pytest.mark.parametrize("name", VALUES)
def test_another_number_of_a_modifier_is_another_leaf_of_the_same_program(folder, guide, name):
    """What a program is compiled for: the structure of its denoiser and condition, and the shapes of their leaves."""
    one, two = (given_of(drawing_of(options_of(folder, guide, "switching", [name], number))) for number in (0, 1))
    (leaves, tree), (others, same) = map(jax.tree.flatten, (one, two))
    assert tree == same and list(map(jax.typeof, leaves)) == list(map(jax.typeof, others))
    assert any(not np.array_equal(leaf, other) for leaf, other in zip(leaves, others, strict=True))


def modified():
    """Each modifier with a method that nests or with one that does not, in turn; some of them in `make test`."""
    for name, method in zip(VALUES, cycle(["switching", "vanilla"]), strict=False):
        yield pytest.param(name, method, marks=[] if name in ("autoguidance", "safe", "negative") else pytest.mark.slow)


@pytest.mark.parametrize(("name", "method"), list(modified()))
def test_another_number_of_a_modifier_compiles_nothing(folder, guide, name, method):
    one, two = (drawing_of(options_of(folder, guide, method, [name], number)) for number in (0, 1))
    before = first(one)
    programs = driver._sample._cache_size()
    after = first(two)
    assert driver._sample._cache_size() == programs
    assert not np.array_equal(before, after), f"the numbers of {name} do nothing"


# in each two conditions, three evaluations, and a mask before it
FEW = {"switching", "fair_diffusion", "editing"}


@pytest.mark.parametrize("method", [pytest.param(each, marks=[pytest.mark.slow] * (each not in FEW)) for each in OF_LABELS])
def test_another_number_of_a_method_compiles_nothing(folder, guide, method):
    others = {
        "mixing": {"mixing": 0.3}, "score_mixing": {"target": (0.3, 0.7)}, "fair_diffusion": {"edit_scale": 2.0},
        "switching": {"tau": (0.3,)}, "spectral": {"tau": (0.5, 0.2)}, "minimal": {"least_posterior": 0.4},
    }  # fmt: skip
    one, two = (drawing_of(options_of(folder, guide, method, **given)) for given in ({}, others.get(method, {"seed": 1})))
    first(one)
    programs = driver._sample._cache_size()
    first(two)
    assert driver._sample._cache_size() == programs


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("vanilla", ["classifier_free"]),
        ("switching", ["classifier_free", "safe"]),
        pytest.param("spectral", [], marks=pytest.mark.slow),
        pytest.param("mixing", ["negative"], marks=pytest.mark.slow),
        ("fair_diffusion", []),
        pytest.param("score_mixing", ["dynamic_negative"], marks=pytest.mark.slow),
        ("editing", ["classifier_free"]),
        ("inpainting", ["interval"]),
        pytest.param("minimal", ["classifier_free"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_reported_cost_is_the_number_of_evaluations_made(folder, method, names, monkeypatch):
    drawing = drawing_of(options_of(folder, None, method, names))
    assert evaluations_made(drawing, monkeypatch) == drawing.evaluations


def test_a_search_names_what_it_does_not_support(folder):
    refused = [
        (VALUES["negative"][0], "a search supports guards with unsafe images"),
        (VALUES["safe"][0], "needs --window 0 inf"),
        (
            {**VALUES["safe"][0], "window": (0.0, float("inf")), "mode": "spectral"},
            "--mode spectral does not support --guard safe",
        ),
    ]
    for options, message in refused:
        with pytest.raises(InputError, match=message):
            made(Search, model=folder, **options)


@pytest.mark.parametrize("guards", [["safe"], pytest.param(["repellency", "safety_flow"], marks=pytest.mark.slow)], ids=str)
def test_an_unconditional_model_is_drawn_and_guarded(unconditional, tmp_path, guards):
    model = models.load(unconditional)
    for number, options in enumerate([{}, *(VALUES[guard][0] for guard in guards)]):
        (path,) = draw(
            made(
                Draw, model=unconditional, out=tmp_path / str(number), count=6, batch_size=4, solver="ddim", steps=STEPS,
                **options,
            )
        )  # fmt: skip
        samples = SampleSet.open(path)
        assert samples.attributes == () and samples.labels.shape == (6, 0) and samples.provenance["attribute"] is None
        if not options:
            x = sample(
                model.denoise, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), indices=np.arange(6)
            )
            shown = np.stack([samples.image(i) for i in range(6)])
            assert np.abs(shown.astype(int) - model.space.decode(x)).max() <= 1


def test_what_needs_labels_says_so_of_an_unconditional_model(unconditional, guide, tmp_path):
    for method in set(OF_LABELS) - {"vanilla"}:
        with pytest.raises(InputError, match=f"is unconditional, and --method {method} needs a model conditioned on labels"):
            drawing_of(options_of(unconditional, guide, method))
    with pytest.raises(InputError, match="is unconditional, and a search needs a model conditioned on labels"):
        search(made(Search, model=unconditional, metric="pixel"))
    with pytest.raises(InputError, match="--attribute and --values need a model conditioned on labels"):
        drawing_of(options_of(unconditional, guide, attribute="group"))
    with pytest.raises(InputError, match="unknown attribute 'group'"):
        drawing_of(options_of(unconditional, guide, "vanilla", ["negative"]))
    with pytest.raises(InputError, match="--guidance-scale needs a model conditioned on labels"):
        drawing_of(options_of(unconditional, guide, guidance_scale=2.0))
