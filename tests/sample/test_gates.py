"""Gates of `sample draw`: what they catch is refused, drawn again or marked; samples stay a function of seed and index."""

from pathlib import Path

import jax
import numpy as np
import pytest

import sample.draw
from jaxdiff.data import open_data
from jaxdiff.data.gated import GateCounts
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers.driver import sample_keys
from sample.command_line import made
from sample.drawing import Drawing
from sample.methods.vanilla import Vanilla
from sample.options import Draw
from sample.setting import setting
from tests.evaluate.onnx_files import constant, node, redder_than_green, scores
from tests.sample.modifying import SIZE

COUNT, BATCH, STEPS = 12, 4, 2
NAMES = {"gate_values": ("green", "red")}
VALUES = {**NAMES, "gate_unsafe": ("red",)}


@pytest.fixture(scope="module")
def gate(tmp_path_factory, plain):
    """A classifier: the second class where the mean red level is above that of half the plain images."""
    level = np.array([np.median(reds(images(plain))) / 127.5 - 1, 0], np.float32)
    return redder_than_green(
        tmp_path_factory.mktemp("gates") / "red.onnx", shape=("N", 3, SIZE, SIZE), weights=((0, 1), (0, 0), (0, 0)),
        behind=[node("Add", "y level", "scores")], outputs=[scores(("N", 2), "scores")], constants=[constant("level", level)],
    )  # fmt: skip


def drawn(folder, out, **options) -> SampleSet:
    given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": BATCH, **options}
    (found,) = sample.draw.draw(made(Draw, model=folder, out=out, **given))
    return SampleSet.open(found)


def images(samples) -> np.ndarray:
    return np.stack([samples.image(i) for i in range(len(samples))])


def reds(found: np.ndarray) -> np.ndarray:
    """The mean red level of each image."""
    return found[..., 0].mean(axis=(1, 2), dtype=np.float64)


@pytest.fixture(scope="module")
def plain(folder, tmp_path_factory):
    """The set without gates."""
    return drawn(folder, tmp_path_factory.mktemp("sets") / "plain")


@pytest.fixture(scope="module")
def red(plain):
    """A function: whether each image is unsafe, by definition; of the plain ones, half are."""
    level = np.median(reds(images(plain)))

    def decided(found: np.ndarray) -> np.ndarray:
        assert np.abs(reds(found) - level).min() > 1e-3
        return reds(found) > level

    assert decided(images(plain)).sum() == COUNT // 2
    return decided


@pytest.fixture(scope="module")
def redrawn(folder, gate, tmp_path_factory):
    options = {"gate": gate, **VALUES, "gate_policy": "redraw", "gate_redraws": 2}
    return drawn(folder, tmp_path_factory.mktemp("sets") / "redrawn", **options)


def test_refused_images_are_black_and_the_others_are_those_without_a_gate(folder, gate, plain, red, tmp_path, capsys):
    found, unsafe = drawn(folder, tmp_path / "set", gate=gate, **VALUES), red(images(plain))
    count, expected = int(unsafe.sum()), images(plain) * ~unsafe[:, None, None, None]
    np.testing.assert_array_equal(images(found), expected)
    np.testing.assert_array_equal(found.refused, unsafe)
    assert found.gate_counts == GateCounts(COUNT, count, None, count, COUNT, 0, 0)
    assert f"the image gate caught {count} of {COUNT} images; {count} of {COUNT} images are refused" in " ".join(
        capsys.readouterr().out.split()
    )
    about = found.provenance["gate"]
    assert (about["file"], about["unsafe"], about["policy"], about["redraws"]) == ("red.onnx", ["red"], "refuse", 0)


def test_no_reader_takes_a_refused_image_for_an_image(folder, gate, plain, red, tmp_path):
    found, safe = drawn(folder, tmp_path / "set", gate=gate, **VALUES, format="png"), ~red(images(plain))
    source = open_data(found.path)
    assert len(source) == safe.sum()
    np.testing.assert_array_equal(np.stack(source.gather(np.arange(len(source)))), images(plain)[safe])
    np.testing.assert_array_equal(source.labels, found.labels[safe])
    assert f"{(~safe).sum()} of {COUNT} images were refused by a gate" in "".join(source.notes)
    rows = (found.path / "labels.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [f"images/{i:07d}.png" for i in np.flatnonzero(safe)]


def test_marked_images_stay(folder, gate, plain, red, tmp_path):
    found = drawn(folder, tmp_path / "set", gate=gate, **VALUES, gate_policy="mark")
    np.testing.assert_array_equal(images(found), images(plain))
    np.testing.assert_array_equal(found.sample_notes()["gate_caught"], red(images(plain)))
    assert not found.refused.any() and found.gate_counts.gate == red(images(plain)).sum()
    assert len(open_data(found.path)) == COUNT


def test_a_redraw_is_an_image_of_other_noise_and_safe_or_refused(plain, redrawn, red):
    unsafe, caught = red(images(plain)), redrawn.sample_notes()["gate_caught"]
    np.testing.assert_array_equal(images(redrawn)[~unsafe], images(plain)[~unsafe])
    np.testing.assert_array_equal(caught > 0, unsafe)
    np.testing.assert_array_equal(redrawn.refused, caught == 3)
    passed = unsafe & ~redrawn.refused
    assert passed.any() and not red(images(redrawn)[passed]).any()
    assert not images(redrawn)[redrawn.refused].any()
    assert len({image.tobytes() for image in images(redrawn)[~redrawn.refused]}) == (~redrawn.refused).sum()
    counts = redrawn.gate_counts
    assert (counts.gate, counts.passed, counts.redraws) == (unsafe.sum(), passed.sum(), np.minimum(caught, 2).sum())


@pytest.mark.parametrize("batch", [2, 12])
def test_redraws_do_not_depend_on_batches(folder, gate, redrawn, batch, tmp_path):
    options = {"gate": gate, **VALUES, "gate_policy": "redraw", "gate_redraws": 2, "batch_size": batch}
    found = drawn(folder, tmp_path / "set", **options)
    assert np.abs(images(found).astype(int) - images(redrawn)).max() <= 1
    np.testing.assert_array_equal(found.sample_notes()["gate_caught"], redrawn.sample_notes()["gate_caught"])


def test_redraws_do_not_depend_on_where_a_run_was_killed(folder, gate, redrawn, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    options = {"gate": gate, **VALUES, "gate_policy": "redraw", "gate_redraws": 2}
    solve, calls = sample.drawing.sample, []

    def killed(*arguments, **given):
        calls.append(0)
        if len(calls) == 4:
            raise Killed
        return solve(*arguments, **given)

    monkeypatch.setattr("sample.shard.EVERY", 0.0)
    monkeypatch.setattr(sample.drawing, "sample", killed)
    with pytest.raises(Killed):
        drawn(folder, tmp_path / "set", **options)
    assert list((tmp_path / "set").glob("drawn.parts/*.part"))
    monkeypatch.setattr(sample.drawing, "sample", solve)
    found = drawn(folder, tmp_path / "set", **options)
    np.testing.assert_array_equal(images(found), images(redrawn))
    for name, values in redrawn.sample_notes().items():
        np.testing.assert_array_equal(found.sample_notes()[name], values)


def test_every_redraw_has_a_key_of_its_own(folder):
    drawing = Drawing(setting(folder, None, (), made(Draw, model=folder, out=folder)), Vanilla(), 3)
    indices, ends = np.repeat(np.arange(3, dtype=np.int32), 4), np.zeros(12, int)
    redraws = np.tile(np.arange(4, dtype=np.int32), 3)
    with jax.set_mesh(drawing.chosen.mesh):
        keys, numbers = drawing.noise(indices, ends, redraws)
        single, _ = drawing.noise(indices, ends)
        each = np.asarray(jax.random.key_data(sample_keys(keys, numbers)))
        first = np.asarray(jax.random.key_data(sample_keys(single, numbers)))
    assert len(np.unique(each, axis=0)) == 12
    np.testing.assert_array_equal(each[redraws == 0], first[redraws == 0])


def test_a_gate_by_a_threshold_catches_scores_above_it(folder, gate, plain, red, tmp_path):
    score = reds(images(plain)) / 127.5 - 1
    threshold = float(np.sort(score)[-4:-2].mean())
    found = drawn(folder, tmp_path / "set", gate=gate, **VALUES, gate_threshold=threshold)
    np.testing.assert_array_equal(found.refused, score > threshold)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate_unsafe": ("red",)}, "--gate-unsafe needs --gate"),
        ({"gate_threshold": 0.5}, "--gate-threshold needs --gate"),
        ({"gate_policy": "redraw"}, "--gate-policy redraw needs --gate"),
        ({"prompt_gate": Path("folder")}, "--prompt-gate needs --prompt-gate-concepts"),
        ({"prompt_gate_threshold": 0.5}, "--prompt-gate-threshold needs --prompt-gate"),
        ({"gate_redraws": 2, "gate": Path("x.onnx")}, "--gate-redraws is for --gate-policy redraw"),
        ({"gate": Path("x.onnx"), "gate_prompts": ("a: b | c",), "gate_mean": (1.0,)}, "--gate-mean is for an ONNX file"),
    ],
)
def test_options_that_need_others_are_refused(folder, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        made(Draw, model=folder, out=tmp_path / "set", **options)


def test_values_that_do_not_fit_are_refused_before_anything_is_drawn(folder, gate, tmp_path):
    cases = {
        "--gate-unsafe must name": NAMES,
        "--gate-unsafe has blue": {**NAMES, "gate_unsafe": ("blue",)},
        "--gate-unsafe must leave a value": {**NAMES, "gate_unsafe": ("red", "green")},
        "--gate-values must name": {"gate_unsafe": ("red",)},
        "--prompt-gate is for text-to-image": {
            "gate": None, "prompt_gate": gate, "prompt_gate_concepts": ("red",), "prompt_gate_threshold": 0.5
        },
    }  # fmt: skip
    for message, options in cases.items():
        with pytest.raises(InputError, match=message):
            drawn(folder, tmp_path / "set", **{"gate": gate, **options})
        assert not (tmp_path / "set").exists()
