"""What each method of `sample draw` draws, with which label, and at what cost."""

import jax
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import model as models
from jaxdiff.editing import edit, edit_evaluations
from jaxdiff.errors import InputError
from jaxdiff.fairness.assignment import assign
from jaxdiff.process import vp_cosine
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, Heun, sample
from jaxdiff.solvers.driver import evaluations
from sample.command_line import made
from sample.draw import draw
from sample.drawing import Drawing
from sample.options import Draw, Sampling
from sample.setting import setting
from tests.sample.modifying import OF_LABELS, example_of

COUNT, STEPS = 12, 4


@pytest.fixture(scope="module")
def folder(save_model, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "run")


@pytest.fixture(scope="module")
def drawn(folder, tmp_path_factory):
    """The images, labels and provenance of a set: `drawn(method, **options)`."""

    def make(method, **options):
        given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": 5, **options}
        (path,) = draw(made(Draw, model=folder, out=tmp_path_factory.mktemp("sets"), method=method, **given))
        samples = SampleSet.open(path)
        return np.stack([samples.image(i) for i in range(COUNT)]), samples.labels[:, 0], samples.provenance

    return make


def close(images, x):
    """Whether bytes are these images in [-1, 1], to a level."""
    levels = np.clip(np.rint((np.asarray(x) + 1) * 127.5), 0, 255)
    return np.abs(images.astype(int) - levels).max() <= 1


@pytest.fixture(scope="module")
def by_hand(folder):
    """The model, and what the library samples of a guided denoiser and a condition from the same noise."""
    model = models.load(folder)

    def solved(denoise, condition):
        return sample(denoise, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=condition)

    return model, solved


def rows(model, labels):
    return model.conditions.encode(np.asarray(labels, np.int32))


def test_unconditional_images_have_no_label(drawn, by_hand):
    model, solved = by_hand
    images, labels, provenance = drawn("unconditional")
    np.testing.assert_array_equal(labels, np.arange(COUNT) % 2)
    assert close(images, solved(model.denoise, rows(model, np.full(COUNT, -1))))
    assert provenance["evaluations"] == STEPS


def test_score_mixing_is_the_guidance_with_the_given_shares(drawn, by_hand):
    model, solved = by_hand
    images, _, provenance = drawn("score_mixing", shares=(0.3, 0.7), target=(0.6, 0.4))
    condition = (rows(model, np.full(COUNT, -1)), tuple(rows(model, np.full(COUNT, value)) for value in (0, 1)))
    mixed = guidance.score_mixing(model.denoise, shares=(0.3, 0.7), reference=(0.6, 0.4))
    assert close(images, solved(mixed, condition))
    assert (provenance["shares"], provenance["target"], provenance["evaluations"]) == ([0.3, 0.7], [0.6, 0.4], 3 * STEPS)


@pytest.mark.parametrize("assignment", ["balanced", "iid"])
def test_fair_diffusion_draws_its_labels_and_moves_towards_them(drawn, by_hand, assignment):
    model, solved = by_hand
    images, labels, provenance = drawn("fair_diffusion", target=(0.25, 0.75), assignment=assignment, edit_scale=3.0, seed=0)
    np.testing.assert_array_equal(labels, assign(COUNT, (0.25, 0.75), seed=0, mode=assignment))
    null = rows(model, [-1])
    led = guidance.semantic(model.denoise, model.process, null[0], strengths=np.array([-3.0, 3.0], np.float32))
    condition = (rows(model, np.full(COUNT, -1)), (rows(model, 1 - labels), rows(model, labels)))
    assert close(images, solved(guidance.clipped(led), condition))
    assert provenance["evaluations"] == 4 * STEPS


def test_an_edited_image_was_a_vanilla_sample_of_the_other_label(drawn, by_hand):
    model, solved = by_hand
    images, labels, provenance = drawn("editing", edit_strength=0.6, batch_size=COUNT)
    source, target = rows(model, 1 - labels), rows(model, labels)
    edited = edit(
        model.denoise, model.process, solved(model.denoise, source), source=source, target=target, solver=DDIM(STEPS),
        key=jax.random.fold_in(jax.random.key(0), 1), strength=0.6, indices=np.arange(COUNT),
    )  # fmt: skip
    assert close(images, edited.images)
    assert provenance["evaluations"] == STEPS + edit_evaluations(model.process, DDIM(STEPS), strength=0.6)


def test_a_switched_image_may_start_under_no_label(drawn, by_hand):
    model, solved = by_hand
    images, labels, provenance = drawn("switching", start="none", tau=(0.5,))
    condition = rows(model, np.full(COUNT, -1)), rows(model, labels)
    assert close(images, solved(guidance.switching(model.denoise, 0.5), condition))
    assert provenance["start"] == "none"
    bands, _, _ = drawn("spectral", start="none", edges=(2.0,), tau=(0.5, 0.5))
    assert np.abs(bands.astype(int) - images).max() <= 1


def test_spectral_switching_with_one_time_for_all_bands_is_switching(drawn):
    images, labels, provenance = drawn("spectral", edges=(2.0,), tau=(0.5, 0.5))
    switched, same, _ = drawn("switching", tau=(0.5,))
    np.testing.assert_array_equal(labels, same)
    assert np.abs(images.astype(int) - switched).max() <= 1
    assert provenance["evaluations"] == STEPS
    apart, _, provenance = drawn("spectral", edges=(2.0,), tau=(0.75, 0.25))
    assert (apart != switched).mean() > 0.2
    # the nodes 0.75 and 0.5 lie between the points: there both conditions are evaluated
    assert provenance["evaluations"] == STEPS + 2


@pytest.mark.parametrize("solver", [DDIM(5), Heun(5)])
def test_evaluations_are_counted_as_the_solver_makes_them(solver):
    """Counted where the innermost denoiser is called, for one sample under guidances that evaluate four times."""
    rows_evaluated = []

    def counting(x, t, condition):
        jax.debug.callback(lambda x: rows_evaluated.append(len(x)), x)
        return 0.5 * x

    nested = guidance.classifier_free(guidance.classifier_free(counting, 0, 2.0), 0, 2.0)
    sample(nested, vp_cosine(), shape=(2,), solver=solver, key=jax.random.key(0), condition=np.zeros(1, np.int32))
    jax.effects_barrier()
    assert sum(rows_evaluated) == evaluations(nested, vp_cosine(), solver) == 4 * solver.evaluations


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("vanilla", {"target": (0.5, 0.5)}, "--target is for --method score_mixing and fair_diffusion, got --method vanilla"),
        ("mixing", {"edit_strength": 0.5}, "--edit-strength is for --method editing"),
        ("vanilla", {"start": "none"}, "--start is for --method switching and spectral"),
        ("spectral", {"tau": (0.5,)}, "--method spectral takes one --tau per band"),
        ("spectral", {"edges": (3.0,), "tau": (0.5,)}, "--method spectral takes one --tau per band"),
        ("editing", {"solver": "unipc"}, "--method editing needs --solver ddim or heun"),
        ("fair_diffusion", {"target": (0.5, 0.6)}, "`target` must be shares"),
        ("score_mixing", {"shares": (1.0, 0.0)}, "`shares` must be two or more shares"),
    ],
)
def test_options_that_no_method_takes_are_errors(folder, tmp_path, method, options, words):
    with pytest.raises(InputError) as caught:
        given = {"count": COUNT, "solver": "ddim", "steps": STEPS, **options}
        draw(made(Draw, model=folder, out=tmp_path / "set", method=method, **given))
    assert words in str(caught.value)


def test_every_method_of_the_table_can_be_made(folder):
    chosen = setting(folder, "group", (), Sampling(solver="ddim", steps=STEPS))
    assert all(Drawing(chosen, example_of(name)).evaluations >= STEPS for name in OF_LABELS)
