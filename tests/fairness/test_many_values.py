"""Attributes of more than two values, and products of attributes: searched, and drawn."""

import dataclasses
import math
from functools import partial
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.data.attributes import product_of
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.fairness import PairTransitions, SpectralTransition, Transition, search_direct, search_prefix
from jaxdiff.fairness.transition import pair_transitions
from jaxdiff.process import ddpm
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, sample
from sample.__main__ import main
from sample.drawing import Drawing
from sample.methods.mixing import Mixing
from sample.methods.switching import Switching
from sample.options import Sampling
from sample.plan import starts
from sample.setting import setting
from tests.sample.modifying import OF_LABELS, example_of, trace, written_classifier

COSINE = ddpm("cosine")
STEPS = 4
ATTRIBUTES = (Attribute("group", ("square", "round")), Attribute("hair", ("dark", "fair", "red")))


def gaussians(std, values) -> GaussianMixture:
    """Gaussians of one covariance, with means far apart in different directions."""
    means = 2 * np.random.default_rng(0).standard_normal((values, 1, 6)).astype(np.float32)
    return GaussianMixture(jnp.asarray(means), jnp.full((values, 1), std), jnp.zeros((values, 1)), COSINE)


@pytest.mark.parametrize("values", [3, 4])
def test_one_tau_of_all_pairs_is_the_closed_form_that_they_share(values, key):
    """SNR(tau) = 1 / (3 c²), whatever the means are."""
    exact = partial(search_direct, shape=(6,), solver=DDIM(60), key=key, batch=24)
    for std in (1.0, 0.5):
        found = exact(gaussians(std, values), COSINE, conditions=tuple(range(values)))
        assert found.tau == pytest.approx(float(COSINE.time(math.log(1 / (3 * std**2)))), abs=0.02)
        assert found.residual < 0.05


def test_the_criterion_of_three_values_is_of_all_their_pairs(key):
    """By hand at one time: noise sample i is of the pair i, and switched both ways."""
    exact, solver = gaussians(0.5, 3), DDIM(20)
    found = search_direct(exact, COSINE, conditions=(0, 1, 2), shape=(6,), solver=solver, key=key, batch=3)
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    at = found.taus[3]
    ends = [
        sample(guidance.switching(exact, at), COSINE, shape=(6,), solver=solver, key=key, indices=np.arange(3), condition=pair)
        for pair in ((first, second), (second, first))
    ]
    assert 0 < at < 1
    assert found.curve[3] == pytest.approx(float(jnp.sqrt(jnp.square(ends[0] - ends[1]).sum(-1).mean())), rel=1e-4)


def test_the_papers_criterion_of_three_values_is_the_mean_over_their_pairs(key):
    exact = gaussians(0.5, 3)
    common = {"shape": (6,), "solver": DDIM(30), "key": key}
    together = search_prefix(exact, COSINE, conditions=(0, 1, 2), batch=3, **common)
    # of one pair alone sample i has the same noise
    alone = [
        search_prefix(exact, COSINE, conditions=pair, batch=batch, **common)
        for pair in ((0, 1), (0, 2), (1, 2)) for batch in (1, 2, 3)
    ]  # fmt: skip
    own = [np.array(each.curve) * each.batch for each in alone]  # sums over the samples
    each = [own[0], own[4] - own[3], own[8] - own[7]]
    np.testing.assert_allclose(together.curve, np.mean(each, axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("conditions", "batch", "words"),
    [((0,), 8, "`conditions` must be two or more, got 1"), ((0, 1, 2), 2, "pairs of 3 conditions, 3, got 2")],
)
def test_too_few_conditions_or_samples_are_refused(conditions, batch, words, key):
    with pytest.raises(InputError, match=words):
        search_direct(gaussians(1.0, 3), COSINE, conditions=conditions, shape=(6,), solver=DDIM(5), key=key, batch=batch)


def found(tau, residual=0.2) -> Transition:
    return Transition(
        tau=tau, timestep=0, snr=None, mode="direct/pixel", taus=(0.0, tau), curve=(1.0, residual), residual=residual,
        evaluations=10, batch=8,
    )  # fmt: skip


def test_points_of_pairs_make_a_symmetric_table_that_survives_json():
    pairs = {(0, 1): found(0.3, 0.1), (0, 2): found(0.5, 0.2), (1, 2): found(0.7, 0.4)}
    table = pair_transitions(pairs, values=3, context={"values": ["a", "b", "c"]})
    assert table.tau == ((1.0, 0.3, 0.5), (0.3, 1.0, 0.7), (0.5, 0.7, 1.0))
    assert table.residual[2] == (0.2, 0.4, 1.0)
    assert (table.mode, table.evaluations, table.batch) == ("direct/pixel", 30, 8)
    assert PairTransitions.from_json(table.to_json()) == table
    with pytest.raises(InputError, match="tau=0.300 to 0.700 was found for values"):
        table.require({"values": ["a", "b"]})
    with pytest.raises(InputError, match="a Transition of `sample search`: `tau` must be a number"):
        Transition.from_json(table.to_json())


@pytest.mark.parametrize("values", [2, 3, 5])
def test_every_ordered_pair_of_values_is_drawn_equally_often(values):
    indices = np.arange(3 * values * (values - 1))
    ends = indices % values
    drawn = list(zip(starts(indices, ends, values).tolist(), ends.tolist(), strict=True))
    assert {pair: drawn.count(pair) for pair in set(drawn)} == dict.fromkeys(permutations(range(values), 2), 3)


@pytest.fixture(scope="module")
def folder(save_model, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "run", attributes=ATTRIBUTES)


@pytest.fixture(scope="module")
def chosen(folder):
    return setting(folder, "hair", (), Sampling(solver="ddim", steps=STEPS))


def by_hand(folder, denoise, condition, count):
    model = models.load(folder)
    drawn = sample(
        denoise(model.denoise), model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0),
        condition=condition, indices=np.arange(count),
    )  # fmt: skip
    return np.asarray(drawn)


def hair(folder, values):
    """The condition of these hair colours, of no group."""
    return models.load(folder).conditions.encode(np.array([[-1, value] for value in values], np.int32))


def test_a_point_for_each_pair_is_each_samples_own(folder, chosen):
    table = ((1.0, 0.2, 0.5), (0.2, 1.0, 0.8), (0.5, 0.8, 1.0))
    indices = np.arange(6)
    ends = indices % 3
    drawn = Drawing(chosen, Switching(at=table)).draw(indices, ends)[0]
    first = [1, 2, 0, 2, 0, 1]
    at = np.array([table[start][end] for start, end in zip(first, ends, strict=True)], np.float32)
    condition = hair(folder, first), hair(folder, ends)
    np.testing.assert_allclose(drawn, by_hand(folder, lambda inner: guidance.switching(inner, at), condition, 6), atol=1e-5)
    same = Drawing(chosen, Switching(at=(0.5,))).draw(indices, ends)[0]
    assert np.abs(drawn - same).max() > 0.1


def test_mixing_shares_the_rest_among_all_others(folder, chosen):
    drawn = Drawing(chosen, Mixing(mixing=0.5)).draw(np.arange(3), np.arange(3))[0]
    weights = np.full((3, 3), 0.25) + 0.25 * np.eye(3)
    each = [hair(folder, [value])[0] for value in range(3)]
    condition = jnp.stack([sum(weight * one for weight, one in zip(row, each, strict=True)) for row in weights])
    np.testing.assert_allclose(drawn, by_hand(folder, lambda inner: inner, condition, 3), atol=1e-5)


def test_every_method_draws_three_values(chosen, tmp_path):
    hat = product_of((ATTRIBUTES[1], Attribute("hat", ("no", "yes"))))
    classifier = written_classifier(tmp_path / "classifier", chosen.model.process, hat)
    for name in [*OF_LABELS, "balanced", "projected"]:
        drawing = Drawing(chosen, example_of(name, classifier))
        ends = drawing.ends(7)
        assert sorted(np.bincount(ends, minlength=3)) == [2, 2, 3], name
        if name in ("switching", "score_mixing"):
            assert np.isfinite(drawing.draw(np.arange(2), ends[:2])[0]).all(), name
        else:
            trace(drawing)  # its shapes alone


@pytest.fixture
def program(call_program):
    return partial(call_program, main, "sample")


def test_a_search_of_each_pair_is_what_is_drawn_with(program, folder, tmp_path, capsys):
    common = ["--model", folder, "--attribute", "hair", "--solver", "ddim", "--steps", STEPS]
    assert program("search", *common, "--batch", 2, "--metric", "pixel", "--each-pair", "--out", "tau.json") == 0
    output = capsys.readouterr().out
    assert all(pair in output for pair in ("dark, fair", "dark, red", "fair, red"))
    table = PairTransitions.from_json((tmp_path / "tau.json").read_text())
    assert table.context["values"] == ["dark", "fair", "red"]
    drawing = ["draw", *common, "--method", "switching", "--count", 6, "--batch-size", 6]
    assert program(*drawing, "--tau-file", "tau.json", "--out", "set") == 0
    samples = SampleSet.open(tmp_path / "set")
    assert samples.provenance["taus"] == [list(row) for row in table.tau]
    assert program(*drawing, "--values", "dark", "red", "--tau-file", "tau.json", "--out", "other") == 2
    assert "was found for values" in " ".join(capsys.readouterr().err.split())


def test_combinations_of_two_attributes_are_searched_and_drawn(program, folder, tmp_path):
    common = ["--model", folder, "--attribute", "group+hair", "--solver", "ddim", "--steps", STEPS]
    search = ["search", *common, "--batch", 15, "--mode", "prefix", "--out", "tau.json"]
    assert program(*search) == 0
    assert program("draw", *common, "--method", "switching", "--count", 12, "--tau-file", "tau.json", "--out", "set") == 0
    samples = SampleSet.open(tmp_path / "set")
    assert samples.provenance["values"][1] == "square+fair"
    assert sorted(map(tuple, samples.labels.tolist())) == sorted([(g, h) for g in range(2) for h in range(3)] * 2)


def test_a_spectral_search_is_what_is_drawn_with(program, folder, tmp_path, capsys):
    common = ["--model", folder, "--attribute", "group", "--solver", "ddim", "--steps", STEPS]
    search = ["search", *common, "--mode", "spectral", "--metric", "pixel", "--edges", 2, "--batch", 2, "--out", "tau.json"]
    assert program(*search) == 0
    output = capsys.readouterr().out
    assert "band 1, below 2" in output and "band 2, above 2" in output
    kept = SpectralTransition.from_json((tmp_path / "tau.json").read_text())
    assert (kept.mode, kept.context["edges"], len(kept.taus)) == ("spectral/bands", [2.0], 2)
    drawing = ["draw", *common, "--method", "spectral", "--count", 4, "--batch-size", 4, "--tau-file", "tau.json"]
    assert program(*drawing, "--out", "set") == 0
    provenance = SampleSet.open(tmp_path / "set").provenance
    assert (provenance["taus"], provenance["edges"], provenance["search"]) == (list(kept.taus), [2.0], kept.mode)
    given = ["--edges", "2", "--tau", *map(str, kept.taus), "--out", "given"]
    assert program(*drawing[:-2], *given) == 0
    again = SampleSet.open(tmp_path / "given")
    np.testing.assert_array_equal(again.image(3), SampleSet.open(tmp_path / "set").image(3))
    assert program(*drawing, "--edges", "3", "--out", "other") == 2
    assert "edges [2.0], and this is edges [3.0]" in " ".join(capsys.readouterr().err.split())
    # a file of another method is output apart
    (tmp_path / "one.json").write_text(dataclasses.replace(found(0.5), context=kept.context).to_json())
    assert program(*drawing[:-1], "one.json", "--out", "other") == 2
    assert "one.json is damaged or was written for another method" in " ".join(capsys.readouterr().err.split())
