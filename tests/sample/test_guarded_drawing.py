"""`sample draw --unsafe`: the stated guidance, at any batch size and after a resume, with a record for each image."""

import math

import jax
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import model as models
from jaxdiff._console.unsafe import encoded
from jaxdiff.data import Attribute, load_arrays, open_data
from jaxdiff.errors import InputError
from jaxdiff.fairness import search_direct
from jaxdiff.references import references
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, sample
from jaxdiff.spaces import Pixels
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw, Search
from sample.search import search
from tests.sample import modifying

COUNT, STEPS = 12, 6
UNSAFE = modifying.UNSAFE["unsafe"]
ATTRIBUTES = (Attribute("group", ("square", "round")), Attribute("glasses", ("no", "yes")))


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(save_model, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "run", attributes=ATTRIBUTES, size=16)


@pytest.fixture(scope="module")
def drawn(folder, tmp_path_factory):
    """A set drawn under a guard: `drawn(**options)`."""

    def make(out=None, **options):
        given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": 5, "attribute": "group", **options}
        (path,) = draw(made(Draw, model=folder, out=out or tmp_path_factory.mktemp("sets") / "set", **given))
        return SampleSet.open(path)

    return make


def images(samples):
    return np.stack([samples.image(i) for i in range(len(samples))])


def close(samples, x):
    """Whether bytes are these images in [-1, 1], to a level."""
    levels = np.clip(np.rint((np.asarray(x) + 1) * 127.5), 0, 255)
    return np.abs(images(samples).astype(int) - levels).max() <= 1


def by_hand(folder, make, condition=None):
    """What the library draws under a guidance that `make(denoise, process, references, model)` makes."""
    model = models.load(folder)
    source = open_data(UNSAFE, size=16)
    chosen = np.sort(np.random.default_rng(0).permutation(len(source))[:20])
    refs = references(np.stack([source.image(int(i)) for i in chosen]).astype(np.float32) / 127.5 - 1)
    labels = np.stack([np.arange(COUNT) % 2, np.full(COUNT, -1)], axis=1).astype(np.int32)
    condition = model.conditions.encode(labels) if condition is None else condition(model, labels)
    denoise = guidance.clipped(make(model.denoise, model.process, refs, model))
    return sample(
        denoise,
        model.process,
        shape=model.shape,
        solver=DDIM(STEPS),
        key=jax.random.key(0),
        condition=condition,
        return_memory=True,
    )


def test_the_safe_denoiser_is_drawn_with_what_it_did_to_each_image(drawn, folder):
    samples = drawn(unsafe=UNSAFE, unsafe_count=20, strength=0.7, window=(0.0, 2.0), guard_weight="density", deviation=40.0)
    settings = dict(strength=0.7, window=(0.0, 2.0), weight="density", deviation=40.0)
    x, memory = by_hand(folder, lambda denoise, process, refs, _: guidance.safe(denoise, process, refs, **settings))
    assert close(samples, x)
    notes, (_, record) = samples.sample_notes(), memory.children[0].own
    np.testing.assert_array_equal(notes["acted"], record.acted)
    np.testing.assert_allclose(notes["strongest"], record.strongest, rtol=1e-5)
    process = models.load(folder).process
    acted = np.asarray(record.acted) > 0
    np.testing.assert_allclose(notes["first_snr"][acted], process.snr(np.asarray(record.first)[acted]), rtol=1e-5)
    about = samples.provenance
    assert (about["guard"], about["strength"], about["unsafe"], about["unsafe_images"]) == ("safe", 0.7, UNSAFE, 20)
    assert about["evaluations"] == STEPS and len(about["unsafe_fingerprint"]) == 16


@pytest.mark.bits
@pytest.mark.parametrize("off", [dict(strength=0.0), dict(window=(0.1, 0.1))], ids=str)
def test_a_guard_that_does_nothing_draws_the_plain_set_and_says_so(off, drawn, capsys):
    plain = images(drawn())
    capsys.readouterr()
    np.testing.assert_array_equal(images(drawn(unsafe=UNSAFE, unsafe_count=20, **off)), plain)
    assert "Warning: the guard acted on 0 of 12 images" in capsys.readouterr().out
    assert np.abs(images(drawn(unsafe=UNSAFE, unsafe_count=20)).astype(int) - plain).max() > 5


def test_a_gate_that_lets_everything_through_is_warned_of(drawn, capsys):
    drawn(unsafe=UNSAFE, unsafe_count=20, deviation=1e6)
    assert "its threshold excluded no image" in " ".join(capsys.readouterr().out.split())
    drawn(unsafe=UNSAFE, unsafe_count=20)
    assert "Warning" not in capsys.readouterr().out


def test_images_and_records_do_not_depend_on_the_batch_nor_on_an_interruption(drawn, tmp_path, monkeypatch):
    whole = drawn(unsafe=UNSAFE, unsafe_count=20, batch_size=12)
    plain, notes = images(whole), whole.sample_notes()
    cut = tmp_path / "cut"
    monkeypatch.setattr("jaxdiff.data.samples.SHARD", 4)
    written = SampleSet.write

    def dies(samples, start, *rest):
        if start == 8:
            raise KeyboardInterrupt
        written(samples, start, *rest)

    monkeypatch.setattr(SampleSet, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        drawn(cut, unsafe=UNSAFE, unsafe_count=20, batch_size=3)
    monkeypatch.setattr(SampleSet, "write", written)
    resumed = drawn(cut, unsafe=UNSAFE, unsafe_count=20, batch_size=3)
    assert np.abs(images(resumed).astype(int) - plain).max() <= 1
    for name, values in notes.items():
        np.testing.assert_allclose(resumed.sample_notes()[name], values, rtol=1e-4)


def test_fair_and_safe_is_switching_inside_the_safe_denoiser(drawn, folder):
    samples = drawn(method="switching", tau=(0.6,), unsafe=UNSAFE, unsafe_count=20, strength=0.5)

    def pair(model, labels):
        other = labels.copy()
        other[:, 0] = 1 - labels[:, 0]
        return model.conditions.encode(other), model.conditions.encode(labels)

    x, _ = by_hand(
        folder,
        lambda denoise, process, refs, _: guidance.safe(guidance.switching(denoise, 0.6), process, refs, strength=0.5),
        pair,
    )
    assert close(samples, x)


def test_tau_is_searched_and_drawn_under_the_same_guard(folder, drawn, tmp_path):
    """A guard changes what the conditions do, hence tau: one that was found without it is refused, and the other way round."""
    sampling = dict(solver="ddim", steps=STEPS)
    guard = dict(unsafe=UNSAFE, unsafe_count=20, strength=2.0, window=(0.0, math.inf))
    common = dict(attribute="group", metric="pixel", batch=8, **sampling)
    plain = search(made(Search, model=folder, out=tmp_path / "plain.json", **common))
    found = search(made(Search, model=folder, out=tmp_path / "guarded.json", **common, **guard))
    assert found.curve != plain.curve and found.context["guard"]["strength"] == 2.0 and "guard" not in plain.context

    # the search is the library's on the guarded denoiser
    model, source = models.load(folder), open_data(UNSAFE, size=16)
    chosen = np.sort(np.random.default_rng(0).permutation(len(source))[:20])
    refs = references(np.stack([source.image(int(i)) for i in chosen]).astype(np.float32) / 127.5 - 1)
    safe = guidance.clipped(guidance.safe(model.denoise, model.process, refs, strength=2.0, window=(0.0, math.inf)))
    labels = np.array([[0, -1], [1, -1]], np.int32)
    by_hand = search_direct(
        safe, model.process, conditions=tuple(model.conditions.encode(labels)), shape=model.shape, solver=DDIM(STEPS),
        key=jax.random.key(0), batch=8, metric="pixel",
    )  # fmt: skip
    assert found.tau == pytest.approx(by_hand.tau, abs=1e-4)
    np.testing.assert_allclose(found.curve, by_hand.curve, rtol=1e-4)

    samples = drawn(method="switching", tau_file=tmp_path / "guarded.json", **guard)
    assert samples.provenance["tau"] == found.tau
    with pytest.raises(InputError, match="was found for guard"):
        drawn(method="switching", tau_file=tmp_path / "plain.json", **guard)
    with pytest.raises(InputError, match="was found for guard"):
        drawn(method="switching", tau_file=tmp_path / "guarded.json")
    with pytest.raises(InputError, match="needs --window 0 inf, .* got --window \\(0.0, 2.0\\)"):
        made(Search, model=folder, **common, **{**guard, "window": (0.0, 2.0)})
    with pytest.raises(InputError, match="a search supports guards with unsafe images"):
        made(Search, model=folder, guard="negative", unsafe_label=("glasses=yes",), **common)


def test_the_unconditional_anchor_carries_the_guidance_scale(drawn, folder):
    samples = drawn(unsafe=UNSAFE, unsafe_count=20, strength=0.5, guidance_scale=2.0, anchor="unconditional")

    def make(denoise, process, refs, model):
        null = model.conditions.encode(np.full((1, 2), -1, np.int32))[0]
        return guidance.safe(denoise, process, refs, strength=0.5, null=null, scale=2.0)

    assert close(samples, by_hand(folder, make)[0])
    assert samples.provenance["evaluations"] == 2 * STEPS and samples.provenance["guidance_scale"] == 2.0


def test_unsafe_labels_keep_each_image_under_its_other_labels(drawn, folder):
    samples = drawn(guard="negative", unsafe_label=("glasses=yes",), strength=0.8)

    def make(denoise, process, refs, model):
        unsafe = model.conditions.encode(np.stack([np.arange(COUNT) % 2, np.ones(COUNT)], axis=1).astype(np.int32))
        return guidance.negative(denoise, process, unsafe, strength=0.8)

    assert close(samples, by_hand(folder, make)[0])
    assert samples.provenance["evaluations"] == 2 * STEPS


@pytest.mark.parametrize("guard", ["repellency", pytest.param("safety_flow", marks=pytest.mark.slow)])
def test_the_peers_are_drawn(guard, drawn, folder):
    options = {"repellency": dict(radius=0.9, strength=0.1), "safety_flow": dict(strength=500.0)}[guard]
    samples = drawn(guard=guard, unsafe=UNSAFE, unsafe_count=20, **options)
    size = (16 * 16 * 3) ** 0.5
    make = {
        "repellency": lambda denoise, process, refs, _: guidance.repellency(
            denoise, process, refs, radius=0.9 * size, strength=0.1
        ),
        "safety_flow": lambda denoise, process, refs, _: guidance.safety_flow(denoise, process, refs, strength=500.0),
    }[guard]
    assert close(samples, by_hand(folder, make)[0])
    assert (samples.sample_notes()["acted"] > 0).any()


def test_unsafe_images_are_read_once_and_anew_when_their_file_changes(tmp_path, monkeypatch):
    rng, reads = np.random.default_rng(0), []
    file = tmp_path / "unsafe.npz"

    def counted(source):
        reads.append(source)
        return load_arrays(source)

    monkeypatch.setattr("jaxdiff._console.unsafe.load_arrays", counted)

    def write(count):
        np.savez(file, images=rng.integers(0, 256, (count, 20, 20, 3), np.uint8), labels=np.zeros(count, np.int64))

    write(7)
    first = encoded(str(file), "all", Pixels(16, 16), None, ())
    again = encoded(str(file), "all", Pixels(16, 16), 3, ())
    assert len(reads) == 1 and first.shape == (7, 16, 16, 3) and first.dtype == np.float32
    assert -1 <= first.min() < -0.5 and 0.5 < first.max() <= 1
    assert all(any(np.array_equal(image, each) for each in first) for image in again)
    write(9)
    assert len(encoded(str(file), "all", Pixels(16, 16), None, ())) == 9 and len(reads) == 2
    with pytest.raises(InputError, match="has 9 images, fewer than --unsafe-count 10"):
        encoded(str(file), "all", Pixels(16, 16), 10, ())
    grey = encoded(str(file), "all", Pixels(8, 12, 1), None, ())
    assert grey.shape == (9, 8, 12, 1) and len(reads) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(strength=0.5), "--strength needs --unsafe or --guard, and neither is given"),
        (dict(guard="repellency"), "--guard repellency needs --unsafe"),
        (dict(guard="negative"), "--guard negative needs --unsafe-concepts"),
        (dict(guard="negative", unsafe=UNSAFE), "--unsafe is for --guard safe, repellency, safety_flow, got --guard negative"),
        (dict(unsafe=UNSAFE, radius=1.0), "--radius is for --guard repellency, got --guard safe"),
        (dict(guard="dynamic_negative", unsafe_label=("glasses=yes",)), "with tracked odds needs --solver ddpm"),
        (dict(unsafe=UNSAFE, guard_weight="tracked"), "with tracked odds needs --solver ddpm"),
        (dict(guard="safety_flow", unsafe=UNSAFE), "--guard safety_flow needs --strength"),
        (
            dict(unsafe=UNSAFE, guard_weight="density", known_safe="embedded"),
            "--guard-weight and --known-safe each set the weight: use one of them",
        ),
        (dict(unsafe=UNSAFE, temperature="warm"), "--temperature takes a number above 0, root or dimension, got 'warm'"),
        (dict(unsafe=UNSAFE, unsafe_count=0), "--unsafe-count must be at least 1, got 0"),
        (dict(unsafe=UNSAFE, method="editing"), "got --method editing"),
        (dict(unsafe=UNSAFE, strength=-1.0), "--strength must be at least 0, got -1"),
        (dict(unsafe=UNSAFE, window=(1e8, 1e9)), "outside the schedule"),
        (dict(unsafe="embedded:glasses=maybe"), "has no value 'maybe'"),
        (dict(unsafe="nowhere"), "no data at 'nowhere'"),
        (dict(guard="negative", unsafe_label=("hat=yes",)), "unknown attribute 'hat'"),
    ],
)
def test_options_that_cannot_be_combined_are_errors(options, message, drawn):
    with pytest.raises(InputError, match=message):
        drawn(**options)
