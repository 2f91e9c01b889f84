"""`--method projected` and `sample subspace`: the stated guidance with other attributes or a subspace, and its file."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxdiff import guidance, load_classifier
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.fairness import associated_subspace
from jaxdiff.finished import checksum
from jaxdiff.solvers import DDIM, sample
from sample.command_line import made
from sample.options import Draw
from sample.subspace import subspace
from sample.subspace_options import Subspace
from tests.sample.modifying import STEPS, drawing_of, first, joint_classifier, options_of, written_classifier

ATTRIBUTES = (
    Attribute("hair", ("dark", "fair", "red")),
    Attribute("group", ("square", "round")),
    Attribute("hat", ("no", "yes")),
)
CHOSEN = {"method": "projected", "attribute": "group"}


@pytest.fixture(scope="module")
def several(save_model, tmp_path_factory):
    """A model of three attributes."""
    return save_model(tmp_path_factory.mktemp("models") / "run", attributes=ATTRIBUTES)


def by_hand(folder, others, strength):
    """What the library draws, given the label rows of the other attributes' values."""
    model = models.load(folder)
    rows = lambda labels: model.conditions.encode(np.broadcast_to(np.asarray(labels, np.int32), (2, 3)))  # noqa: E731
    counts = tuple(map(len, others))
    led = guidance.clipped(guidance.projected(model.denoise, strength=strength, counts=counts))
    condition = rows((-1, -1, -1)), rows([(-1, 0, -1), (-1, 1, -1)]), tuple(tuple(map(rows, each)) for each in others)
    x = sample(led, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=condition)
    return np.asarray(x)


HAIR = [(value, -1, -1) for value in range(3)]
HAT = [(-1, -1, value) for value in range(2)]


def test_it_is_the_guidance_without_the_attributes_that_are_named(several):
    every, hat = (
        drawing_of(options_of(several, **CHOSEN, label_strength=1.5, **given)) for given in ({}, {"without": ("hat",)})
    )
    assert (every.evaluations, hat.evaluations) == (7 * STEPS, 4 * STEPS)
    assert every.settings()["without"] == ["hair", "hat"] and hat.settings()["without"] == ["hat"]
    assert hat.settings()["label_strength"] == 1.5
    np.testing.assert_allclose(first(every), by_hand(several, (HAIR, HAT), 1.5), atol=1e-5)
    np.testing.assert_allclose(first(hat), by_hand(several, (HAT,), 1.5), atol=1e-5)
    assert np.abs(first(every) - first(hat)).max() > 1e-3


def test_strength_0_is_no_label_bit_for_bit(several):
    plain = drawing_of(options_of(several, method="unconditional", attribute="group"))
    np.testing.assert_array_equal(first(drawing_of(options_of(several, **CHOSEN, label_strength=0.0))), first(plain))


def test_what_does_not_fit_is_an_error(several, folder):
    with pytest.raises(InputError, match="--without takes other attributes of the model, hair, hat; got group"):
        drawing_of(options_of(several, **CHOSEN, without=("group",)))
    with pytest.raises(InputError, match="--method projected needs a model of other attributes than --attribute group"):
        drawing_of(options_of(folder, **CHOSEN))
    with pytest.raises(InputError, match="--label-strength must be at least 0"):
        options_of(several, **CHOSEN, label_strength=-1.0)


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    """The file of the subspace of a model of one attribute, and what the command found."""
    out = tmp_path_factory.mktemp("subspaces") / "subspace.npz"
    return out, subspace(Subspace(model=folder, out=out, solver="ddim", steps=STEPS, count=4, own_share=0.5, share=0.8))


def test_the_subspace_of_a_model_is_that_of_the_library(folder, found):
    out, written = found
    model = models.load(folder)
    rows = lambda value: model.conditions.encode(np.full((4, 1), value, np.int32))  # noqa: E731
    x = sample(model.denoise, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=rows(-1))
    key = jax.random.fold_in(jax.random.key(0), 2**31 - 1)
    expected = associated_subspace(
        model.denoise, model.process, x, [rows(0), rows(1)], key=key, own_share=0.5, share=0.8
    )  # fmt: skip
    assert written.rows.shape == expected.rows.shape and len(written.rows) > 0
    for one, other in zip(written, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    with np.load(out) as arrays, Image.open(out.with_suffix(".png")) as picture:
        np.testing.assert_array_equal(arrays["rows"], written.rows)
        assert picture.size[1] > 300


def test_a_set_is_led_without_the_subspace_and_needs_no_other_attribute(folder, found):
    out, written = found
    drawing = drawing_of(options_of(folder, method="projected", subspace=out, label_strength=1.5))
    model = models.load(folder)
    rows = lambda labels: model.conditions.encode(np.asarray(labels, np.int32)[:, None])  # noqa: E731
    led = guidance.clipped(guidance.projected(model.denoise, strength=1.5, subspace=written.rows))
    condition = rows([-1, -1]), rows([0, 1]), ()
    x = sample(led, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=condition)
    np.testing.assert_allclose(first(drawing), x, atol=1e-5)
    assert drawing.evaluations == 2 * STEPS
    about = drawing.settings()["subspace"]
    assert about == {"file": "subspace.npz", "follow": False, "count": len(written.rows), "checksum": checksum(written.rows)}
    follows = drawing_of(options_of(folder, method="projected", subspace=out, label_strength=1.5, follow=True))
    moving = guidance.clipped(guidance.projected(model.denoise, strength=1.5, subspace=written.rows, process=model.process))
    x = sample(moving, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=condition)
    np.testing.assert_allclose(first(follows), x, atol=1e-5)
    assert follows.evaluations == (2 + len(written.rows)) * STEPS and follows.settings()["subspace"]["follow"]
    plain = drawing_of(options_of(folder, method="unconditional"))
    off = drawing_of(options_of(folder, method="projected", subspace=out, label_strength=0.0))
    np.testing.assert_array_equal(first(off), first(plain))
    np.testing.assert_array_equal(
        options_of(folder, method="projected", subspace=out).method.example().directions, written.rows
    )


def test_a_set_is_led_without_the_directions_of_classifiers_and_needs_no_other_attribute(folder, several, tmp_path):
    model = models.load(folder)
    paths = [written_classifier(tmp_path / each.name, model.process, each) for each in (ATTRIBUTES[0], ATTRIBUTES[2])]
    drawing = drawing_of(options_of(folder, method="projected", without_classifiers=paths, label_strength=1.5))
    read = [load_classifier(path) for path in paths]
    led = guidance.projected(model.denoise, strength=1.5, log_posteriors=[each.log_posterior for each in read])
    null, own = (model.conditions.encode(np.array(labels, np.int32)) for labels in ((-1, -1), (0, 1)))
    given = {"shape": model.shape, "solver": DDIM(STEPS), "key": jax.random.key(0), "condition": (null, own, ())}
    np.testing.assert_allclose(first(drawing), sample(guidance.clipped(led), model.process, **given), atol=1e-5)
    assert drawing.evaluations == 2 * STEPS and "without hair, hat" in drawing.method.parts
    assert drawing.settings()["without_classifiers"] == {each.attribute.name: each.fingerprint for each in read}
    assert len(options_of(folder, method="projected", without_classifiers=paths).method.example().classifiers) == 2
    with pytest.raises(InputError, match="it classifies 'group.hair', and images are led along 'group'"):
        drawing_of(options_of(several, **CHOSEN, without_classifiers=(joint_classifier(),)))
    with pytest.raises(InputError, match="--without and --without-classifiers each give the directions that are removed"):
        options_of(several, **CHOSEN, without=("hat",), without_classifiers=paths)


def test_a_subspace_of_another_model_or_attribute_is_an_error(several, folder, found, tmp_path):
    out, _ = found
    with np.load(out) as arrays:
        held = dict(arrays)

    def saved(name, **changed):
        np.savez(tmp_path / name, **{**held, **changed})
        return tmp_path / name

    known = str(held["context"])
    for path, message in (
        (tmp_path / "absent.npz", "absent.npz"),
        (
            saved("other.npz", context=known.replace('"group"', '"hat"')),
            "found for another attribute: it has 'hat', this is 'group'",
        ),
        (saved("size.npz", rows=np.ones((1, 4, 4, 3), np.float32)), r"directions of shape \(4, 4, 3\), the model's are"),
        (saved("none.npz", rows=np.ones((0, 4), np.float32)), "damaged"),
        (saved("nan.npz", rows=np.full((1, 4), np.nan, np.float32)), "damaged"),
        (saved("double.npz", rows=np.ones((1, 4))), "was not written by `jaxdiff sample subspace`"),
    ):
        with pytest.raises(InputError, match=message):
            drawing_of(options_of(folder, method="projected", subspace=path))
    with pytest.raises(InputError, match="found for another model"):
        drawing_of(options_of(several, **CHOSEN, subspace=out))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": Path("subspace.png")}, "--out must end in .npz, got subspace.png"),
        ({"near": 0.7}, "--near must be below each of --far, got 0.7 and 0.6 0.8 1.0"),
        ({"share": 1.0}, "--share"),
        ({"far": (0.5, 2.0)}, "--far"),
    ],
    ids=str,
)
def test_wrong_options_are_named(given, message):
    with pytest.raises(InputError, match=message):
        Subspace(**{"model": Path("run"), "out": Path("subspace.npz"), **given})


def test_options_that_exclude_each_other_are_named(folder, unconditional, tmp_path):
    with pytest.raises(InputError, match="--without and --subspace each give the directions that are removed"):
        made(Draw, model=folder, out=tmp_path / "set", method="projected", without=("hat",), subspace=tmp_path / "x.npz")
    with pytest.raises(InputError, match="--follow is for --subspace FILE.npz"):
        made(Draw, model=folder, out=tmp_path / "set", method="projected", follow=True)
    with pytest.raises(InputError, match="--subspace is for --method projected"):
        made(Draw, model=folder, out=tmp_path / "set", subspace=tmp_path / "x.npz")
    with pytest.raises(InputError, match="is unconditional"):
        subspace(Subspace(model=unconditional, out=tmp_path / "subspace.npz"))


def test_a_label_that_nothing_goes_with_has_no_subspace(folder, tmp_path):
    """Where the label's own directions explain all that is asked for."""
    with pytest.raises(InputError, match="nothing goes with group"):
        subspace(Subspace(model=folder, out=tmp_path / "none.npz", solver="ddim", steps=2, count=2, own_share=0.99, share=1e-6))
    assert not list(tmp_path.iterdir())
