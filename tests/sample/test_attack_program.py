"""`sample attack`: the searches of the library on what `sample draw` draws, evaluated by another classifier, and resumed."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import classifier as classifiers
from jaxdiff import load_classifier, safety
from jaxdiff.calibration import Calibration
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.network import noised_classifier
from jaxdiff.process import EARLIEST, vp_cosine
from jaxdiff.sampleset import SampleSet
from jaxdiff.statistics import wilson_interval
from sample import attack as attacking
from sample.attack_options import Attack
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw
from tests import small_pipeline
from tests.evaluate.onnx_files import constant, node, redder_than_green, scores
from tests.sample.modifying import SIZE, UNSAFE

GLASSES = Attribute("glasses", ("no", "yes"))
COUNT = 5
PROMPT_GATE = {
    "prompt_gate": Path("embedded-clip"), "prompt_gate_concepts": ("a photo of a man",), "prompt_gate_threshold": 0.9999,
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Two classifiers of glasses with other weights, and one of another attribute."""
    return written_classifiers(tmp_path_factory.mktemp("classifiers"), SIZE)


def written_classifiers(folder, size):
    """The folder, with classifiers of images of this size."""
    config = ClassifierConfig(
        size=size, channels=3, values=2, base=8, multipliers=(1,), blocks=0, attention=(), head_channels=8, dropout=0.0, stem=2
    )
    shapes = jax.eval_shape(partial(noised_classifier, config), jax.random.key(0))
    for name, seed, attribute in (
        ("score", 1, GLASSES),
        ("verdict", 2, GLASSES),
        ("other", 3, Attribute("hat", ("no", "yes"))),
    ):
        rng = np.random.default_rng(seed)
        weights = jax.tree.map(lambda leaf, rng=rng: jnp.asarray(rng.standard_normal(leaf.shape, np.float32)), shapes.weights)
        network = type(shapes)(weights, shapes.structure)
        made_one = classifiers.NoisedClassifier(
            config, network, vp_cosine(), attribute, (0.5, 0.5), Calibration.identity(2), {"step": 1}
        )
        classifiers.save(folder / name, made_one)
        (folder / name / "config.json").write_text("{}")  # as a run has one
    return folder


@pytest.fixture(scope="module")
def given(folder, found):
    """Options of an attack on a guarded model, without its folder."""
    return {
        "model": folder, "seek": "glasses=yes", "score": found / "score", "verdict": found / "verdict", "count": COUNT,
        "batch_size": 3, "solver": "ddim", "steps": 3, "budget": 9, "noise_radius": 0.5, **UNSAFE, "strength": 0.3,
    }  # fmt: skip


@pytest.fixture(scope="module")
def attacked(given, tmp_path_factory):
    """The folder of an attack."""
    return attacking.attack(made(Attack, out=tmp_path_factory.mktemp("attacks") / "out", **given))


@pytest.fixture(scope="module")
def drawn(given, tmp_path_factory):
    """The set that the attack starts from, as `sample draw` draws it."""
    searched = ("seek", "score", "verdict", "budget", "noise_radius")
    options = {name: value for name, value in given.items() if name not in searched}
    return draw(made(Draw, out=tmp_path_factory.mktemp("drawn") / "drawn", **options))[0]


def images(folder):
    made_set = SampleSet.open(folder)
    return np.stack([made_set.image(i) for i in range(len(made_set))])


def test_the_report_holds_curves_with_intervals(attacked):
    report = json.loads((attacked / "attack.json").read_text())
    assert (attacked / "attack.png").stat().st_size > 1000
    assert list(report["searches"]) == ["gradient", "random"] and report["count"] == COUNT
    for name, runs in (("gradient", [0, 5, 9]), ("random", list(range(10)))):
        curve = report["searches"][name]
        assert curve["runs"] == runs
        assert (np.diff(curve["held"]) <= 0).all() and (np.diff(curve["log_odds"]) >= 0).all()
        low, high = wilson_interval(np.array(curve["held"]), np.full(len(runs), COUNT)).T
        np.testing.assert_allclose((curve["low"], curve["high"]), (low, high), atol=1e-5)
    assert report["searches"]["gradient"]["log_odds"][-1] > report["searches"]["gradient"]["log_odds"][0] + 1e-3


def test_scores_and_verdicts_are_those_of_the_images(attacked, found, drawn):
    """The set of each search holds the images whose odds and verdicts are reported; the first evaluation is the drawn set."""
    report = json.loads((attacked / "attack.json").read_text())
    score, verdict = (load_classifier(found / name).log_odds(("yes",)) for name in ("score", "verdict"))
    of = lambda odds, pictures: np.asarray(odds(jnp.asarray(pictures, jnp.float32) / 127.5 - 1, EARLIEST))  # noqa: E731
    for name in ("gradient", "random"):
        curve = report["searches"][name]
        np.testing.assert_allclose(curve["log_odds"][-1], of(score, images(attacked / name)).mean(), rtol=0.02, atol=0.02)
        np.testing.assert_allclose(curve["log_odds"][0], of(score, images(drawn)).mean(), rtol=0.02, atol=0.02)
        assert curve["held"][0] == (of(verdict, images(drawn)) <= 0).mean()


def test_an_interrupted_attack_is_resumed(attacked, given, tmp_path, monkeypatch):
    """Batches that were finished are not attacked again, and the report is the same."""
    whole, calls = safety.attack, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(attacking.safety, "attack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        attacking.attack(made(Attack, out=tmp_path / "out", **given))
    attacking.attack(made(Attack, out=tmp_path / "out", **given))
    assert len(calls) == 3 + 2
    assert (tmp_path / "out" / "attack.json").read_bytes() == (attacked / "attack.json").read_bytes()
    np.testing.assert_array_equal(images(tmp_path / "out" / "gradient"), images(attacked / "gradient"))


def test_a_verdict_from_outside_is_given_the_images(given, drawn, tmp_path):
    """An ONNX file that calls an image unsafe whose red level is above that of half the drawn ones."""
    reds = lambda folder: images(folder)[..., 0].mean((1, 2), dtype=np.float64) / 127.5 - 1  # noqa: E731
    level = np.float32(np.median(reds(drawn)) + 1e-6)
    file = redder_than_green(
        tmp_path / "red.onnx", shape=("N", 3, SIZE, SIZE), weights=((0, 1), (0, 0), (0, 0)),
        behind=[node("Add", "y level", "scores")], outputs=[scores(("N", 2), "scores")],
        constants=[constant("level", np.array([level, 0], np.float32))],
    )  # fmt: skip
    options = {**given, "search": ("random",), "verdict": file, "verdict_values": ("no", "yes")}
    out = attacking.attack(made(Attack, out=tmp_path / "out", **options))
    report = json.loads((out / "attack.json").read_text())
    held = report["searches"]["random"]["held"]
    assert held[0] == (reds(drawn) <= level).mean() and 0 < held[0] < 1
    assert held[-1] <= (reds(out / "random") <= level).mean()
    # behind a gate that is the verdict nothing is unsafe, and behind one that refuses all else as much as before
    for unsafe, expected in (("yes", [1.0] * len(held)), ("no", held)):
        gate = {"gate": file, "gate_values": ("no", "yes"), "gate_unsafe": (unsafe,)}
        behind = attacking.attack(made(Attack, out=tmp_path / unsafe, **options, **gate))
        gated = json.loads((behind / "attack.json").read_text())
        assert gated["searches"]["random"]["held"] == expected and gated["settings"]["gate"]["unsafe"] == [unsafe]
    about = report["settings"]["verdict"]
    assert about["kind"] == "ONNX" and about["file"] == "red.onnx" and about["unsafe"] == ["yes"]
    for changes, message in (
        ({"verdict_values": ("no", "hat")}, "attribute 'glasses' has no value 'yes'; it takes one of no, hat"),
        ({"verdict_values": ()}, "--verdict-values must name the classes of"),
        ({"verdict": given["verdict"]}, "--verdict-values is for a classifier from outside, and --verdict .* is none"),
    ):
        with pytest.raises(InputError, match=message):
            attacking.attack(made(Attack, out=tmp_path / "refused", **{**options, **changes}))
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"verdict": "score"}, "--verdict must be another classifier than --score"),
        ({"score": "other"}, "needs a classifier of 'glasses'; that of --score"),
        ({"seek": "yes"}, "--seek takes ATTRIBUTE=VALUE of one attribute, got 'yes'"),
        ({"prompt_radius": 0.1}, "--prompt-radius is for text-to-image models"),
        ({"noise_radius": 0.0}, "--noise-radius and --prompt-radius are both 0"),
        ({"budget": 4}, "--budget"),
        ({"gate_policy": "mark", **PROMPT_GATE}, "--gate-policy of an attack must be refuse, got mark"),
        ({"search": ()}, "--search takes one or more different searches, got none"),
        ({"method": "switching", "tau": (0.2, 0.6)}, "an attack takes one set, got 2 values of --tau"),
        ({"method": "editing"}, "an attack follows one run of the solver"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_options_that_do_not_fit_are_refused(changes, message, given, found, tmp_path):
    changes = {name: found / value if name in ("score", "verdict") else value for name, value in changes.items()}
    kept = {name: value for name, value in given.items() if "method" not in changes or name not in (*UNSAFE, "strength")}
    with pytest.raises(InputError, match=message):
        attacking.attack(made(Attack, out=tmp_path / "out", **{**kept, **changes}))
    assert not (tmp_path / "out" / "attack.json").exists()


@pytest.fixture(scope="module")
def by_prompt(tmp_path_factory):
    """Options of an attack on the embeddings of two prompts, without its folder."""
    made_in = tmp_path_factory.mktemp("by-prompt")
    classes = written_classifiers(made_in / "classifiers", small_pipeline.SIZE)
    return {
        "model": small_pipeline.folder(made_in / "pipeline", shallow=True),
        "attribute": "group: a photo of a man | a photo of a woman",
        "guidance_scale": 3.0, "seek": "glasses=yes", "score": classes / "score", "verdict": classes / "verdict", "count": 4,
        "batch_size": 2, "solver": "ddim", "steps": 3, "budget": 9, "noise_radius": 0.0, "prompt_radius": 0.3,
    }  # fmt: skip


def test_embeddings_of_prompts_move_within_their_radius(by_prompt, tmp_path, monkeypatch):
    """The first evaluation is the drawn set; decoded images are scored; the noise stays, and each embedding within its ball.

    The random search of them is attacked behind a filter below.
    """
    whole, attacks = safety.attack, []
    monkeypatch.setattr(
        attacking.safety, "attack", lambda *given, **named: attacks.append((whole(*given, **named), named)) or attacks[-1][0]
    )
    out = attacking.attack(made(Attack, out=tmp_path / "out", search=("gradient",), **by_prompt))
    report = json.loads((out / "attack.json").read_text())
    searched = ("seek", "score", "verdict", "budget", "noise_radius", "prompt_radius")
    (drawn,) = draw(made(Draw, out=tmp_path / "drawn", **{name: by_prompt[name] for name in by_prompt if name not in searched}))
    odds = load_classifier(by_prompt["score"]).log_odds(("yes",))
    of = lambda pictures: np.asarray(odds(jnp.asarray(pictures, jnp.float32) / 127.5 - 1, EARLIEST)).mean()  # noqa: E731
    curve = report["searches"]["gradient"]["log_odds"]
    np.testing.assert_allclose(curve[0], of(images(drawn)), rtol=0.02, atol=0.02)
    np.testing.assert_allclose(curve[-1], of(images(out / "gradient")), rtol=0.02, atol=0.02)
    assert curve[-1] > curve[0] + 1e-3
    assert len(attacks) == 2
    for found, named in attacks:
        (point,), (start,) = found.points, [leaf for leaf in jax.tree.leaves(named["condition"]) if leaf.ndim == 3]
        moved, norms = (np.linalg.norm(np.reshape(each, (len(each), -1)), axis=1) for each in (point - start, start))
        assert named["noise"] is None and moved.max() > 0
        assert (moved <= 0.3 * np.sqrt(np.square(norms).mean()) * (1 + 1e-5)).all()


def test_filtered_prompts_are_attacked_behind_the_filter_and_a_prompt_gate(by_prompt, tmp_path, monkeypatch):
    """Both the filtered and the original embedding move; the first evaluation is the drawn set; images of refused prompts are
    not unsafe, whatever is found in them."""
    whole, attacks = safety.attack, []

    def broken_by_all(*given, **named):
        found = whole(*given, **named)
        attacks.append((dataclasses.replace(found, broken=np.ones_like(found.broken)), named))
        return attacks[-1][0]

    monkeypatch.setattr(attacking.safety, "attack", broken_by_all)
    safree = {"safree": True, "unsafe_concepts": ("man",), "safree_midpoint": -9.0, "safree_share": 0.5}
    options = {**by_prompt, **safree, "search": ("random",), "batch_size": 4, "budget": 5, "steps": 2}
    out = attacking.attack(made(Attack, out=tmp_path / "out", **options, **PROMPT_GATE))
    report = json.loads((out / "attack.json").read_text())
    searched = ("seek", "score", "verdict", "budget", "noise_radius", "prompt_radius", "search")
    (drawn,) = draw(made(Draw, out=tmp_path / "drawn", **{name: options[name] for name in options if name not in searched}))
    odds = load_classifier(by_prompt["score"]).log_odds(("yes",))
    first = np.asarray(odds(jnp.asarray(images(drawn), jnp.float32) / 127.5 - 1, EARLIEST)).mean()
    np.testing.assert_allclose(report["searches"]["random"]["log_odds"][0], first, rtol=0.02, atol=0.02)
    ((found, named),) = attacks
    start = [leaf for leaf in jax.tree.leaves(named["condition"]) if leaf.ndim == 3]
    assert len(start) == 2 and np.abs(start[0] - start[1]).max() > 0
    for point, each in zip(found.points, start, strict=True):
        moved = np.linalg.norm(np.reshape(point - each, (4, -1)), axis=1)
        assert moved.max() > 0 and moved.max() < 0.5 * np.linalg.norm(np.reshape(each, (4, -1)), axis=1).max()
    man = SampleSet.open(drawn).labels[:, 0] == 0
    assert 0 < man.sum() < 4 and report["settings"]["prompt_gate"]["threshold"] == 0.9999
    np.testing.assert_allclose(report["searches"]["random"]["held"], np.full(len(found.runs), man.mean()))


def test_the_embeddings_of_two_encoders_are_refused(by_prompt, tmp_path):
    xl = small_pipeline.folder(tmp_path / "xl", xl=True)
    with pytest.raises(InputError, match="--prompt-radius moves the only embedding of a prompt"):
        attacking.attack(made(Attack, out=tmp_path / "out", **{**by_prompt, "model": xl}))
