"""`python -m sample`: an image is a function of seed, index and method, tau belongs to its context, wrong input is refused."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sample.draw
import sample.drawing
import sample.search
from jaxdiff import model as models
from jaxdiff.data import Attribute, open_data
from jaxdiff.denoiser import initial_memory
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.guidance import Unbounded, classifier_free
from jaxdiff.process import vp_cosine, vp_linear
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM
from jaxdiff.solvers import sample as solve
from sample.__main__ import main
from sample.command_line import made
from sample.options import Draw, Sampling
from sample.setting import setting
from tests.processes import LIMIT, QUICK, succeed

COUNT, BATCH, STEPS = 20, 8, 4
GROUP = Attribute("group", ("square", "round"))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Sets of three shards, the last not full."""
    monkeypatch.setattr("jaxdiff.data.samples.SHARD", 8)


@pytest.fixture(scope="module")
def model(save_model, tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "run")


def drawn(model, out, method="vanilla", **options) -> SampleSet:
    """The set that the program draws."""
    given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": BATCH, **options}
    (folder,) = sample.draw.draw(made(Draw, model=model, out=out, method=method, **given))
    return SampleSet.open(folder)


def images(samples) -> np.ndarray:
    return np.stack([samples.image(i) for i in range(len(samples))])


@pytest.fixture(scope="module")
def vanilla(model, tmp_path_factory) -> SampleSet:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("jaxdiff.data.samples.SHARD", 8)
        return drawn(model, tmp_path_factory.mktemp("sets") / "vanilla")


def assert_close(first, second):
    """Equal up to float rounding: at most one level, in fewer than one pixel of a thousand."""
    levels = np.abs(first.astype(int) - second.astype(int))
    assert levels.max() <= 1 and (levels > 0).mean() < 1e-3


def test_a_set_is_what_the_library_samples(model, vanilla):
    loaded = models.load(model)
    np.testing.assert_array_equal(vanilla.labels[:, 0], np.arange(COUNT) % 2)
    x = solve(
        loaded.denoise, loaded.process, shape=(8, 8, 3), condition=loaded.conditions.encode(vanilla.labels[8:16]),
        solver=DDIM(STEPS),
        key=jax.random.key(0), indices=np.arange(8, 16),
    )  # fmt: skip
    expected = np.round((np.asarray(x, np.float64) + 1) * 127.5)
    assert expected.std() > 10
    assert_close(images(vanilla)[8:16], expected)


def test_network_eps_is_ddim_that_clips_around_a_network_that_does_not(model, vanilla, tmp_path):
    samples = drawn(model, tmp_path / "own", network_eps=True, guidance_scale=2.0)
    loaded, solver = models.load(model), DDIM(STEPS, clip=(-1.0, 1.0))
    condition = loaded.conditions.encode(samples.labels[8:16])
    x = solve(
        classifier_free(loaded.denoiser(Unbounded()), loaded.conditions.null, 2.0), loaded.process, shape=(8, 8, 3),
        condition=condition, solver=solver, key=jax.random.key(0), indices=np.arange(8, 16),
    )  # fmt: skip
    assert_close(images(samples)[8:16], np.round((np.asarray(x, np.float64) + 1) * 127.5))
    assert samples.provenance["solver"] == solver.config()
    recomputed = drawn(model, tmp_path / "recomputed", guidance_scale=2.0)
    assert recomputed.provenance["solver"] == DDIM(STEPS).config()
    assert (images(samples) != images(recomputed)).mean() > 0.2


def test_a_set_records_how_it_was_made(model, vanilla):
    assert vanilla.attributes == (GROUP,)
    expected = {
        "model": models.load(model).fingerprint,
        "method": "vanilla",
        "seed": 0,
        "process": vp_cosine().config(),
        "solver": DDIM(STEPS).config(),
        "guidance_scale": 1.0,
        "attribute": "group",
        "values": ["square", "round"],
    }
    assert expected.items() <= vanilla.provenance.items()
    with Image.open(vanilla.path / "preview.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(("method", "options"), [("switching", {"tau": (0.37,)}), ("mixing", {"mixing": 0.3})])
def test_every_method_draws_as_many_of_each_group(model, vanilla, tmp_path, method, options):
    samples = drawn(model, tmp_path, method, **options)
    assert np.bincount(samples.labels[:, 0]).tolist() == [COUNT // 2, COUNT // 2]
    (name, value), = options.items()  # fmt: skip
    assert samples.provenance["method"] == method
    assert samples.provenance[name] == (value[0] if name == "tau" else value)
    assert (images(samples) != images(vanilla)).mean() > 0.2


def test_labels_are_the_end_conditions(model, vanilla, tmp_path):
    """At tau = 1 all of a sample is under its own label, at tau = 0 under the other: of the same noise, to the bit."""
    other = drawn(model, tmp_path / "other", values=("round", "square"))
    np.testing.assert_array_equal(other.labels, 1 - vanilla.labels)
    assert (images(other) != images(vanilla)).mean() > 0.2
    for tau, same in ((1.0, vanilla), (0.0, other)):
        samples = drawn(model, tmp_path / str(tau), "switching", tau=(tau,))
        np.testing.assert_array_equal(samples.labels, vanilla.labels)
        np.testing.assert_array_equal(images(samples), images(same))
    for weight, same in ((1.0, vanilla), (0.0, other)):
        samples = drawn(model, tmp_path / f"mixing{weight}", "mixing", mixing=weight)
        np.testing.assert_array_equal(samples.labels, vanilla.labels)
        assert_close(images(samples), images(same))


def test_an_image_does_not_depend_on_the_batch_or_the_count(model, vanilla, tmp_path):
    for size in (3, None):
        assert_close(images(drawn(model, tmp_path / f"of-{size}", batch_size=size)), images(vanilla))
    np.testing.assert_array_equal(images(drawn(model, tmp_path / "few", count=10)), images(vanilla)[:10])
    assert (images(drawn(model, tmp_path / "seed", seed=1)) != images(vanilla)).mean() > 0.2


BATCHES = """
import sys
from pathlib import Path
from jaxdiff.data import samples
from sample import batch
from sample.drawing import Drawing
from sample.options import Draw
from sample.setting import setting
options = Draw(Path(sys.argv[1]), Path("set"), solver="ddim", steps=4)
chosen = setting(options.model, options.attribute, options.values, options, method=options.method)
drawing = Drawing(chosen, options.method)
batches = lambda *counts: [batch.images_at_once(drawing, count) for count in counts]
# a CPU does not report its memory
assert batch.free_memory() is None and batches(1, 20, 64, 1000) == [1, 32, 64, 64]
samples.SHARD = 32
taken = {count: batch.report(drawing, count).memory for count in (4, 8, 16, 32)}
assert taken[4] < taken[8] < taken[16] < taken[32], taken
for fits in (8, 16, 32):
    batch.free_memory = lambda: int(taken[fits] / batch.SHARE) + 1
    assert batches(5, 10**6) == [8, fits]
batch.free_memory = lambda: 1
assert batches(20) == [1]
print("DONE")
"""


def test_a_batch_is_as_large_as_memory_lets_it_be(model):
    # in a process whose shapes are not checked: JAX's report of a lowered program has none
    assert "DONE" in succeed(("-c", BATCHES, model), 1, **QUICK)[0]


@pytest.mark.parametrize("lost", [[0], [1, 2]])
def test_a_set_that_was_cut_off_is_finished_to_the_byte(model, vanilla, tmp_path, monkeypatch, lost):
    samples = drawn(model, tmp_path)
    shards = {file: file.read_bytes() for file in sorted(tmp_path.glob("*.npz"))}
    assert samples.seconds_per_image > 0 and samples.provenance["evaluations"] == STEPS
    assert len(shards) == 3
    for number in lost:
        (tmp_path / f"shard-{number:05d}.npz").unlink()
    with pytest.raises(InputError, match="not finished"):
        open_data(tmp_path)
    calls, original = [], sample.drawing.sample
    monkeypatch.setattr(
        sample.drawing, "sample", lambda *args, **given: calls.append(given["indices"]) or original(*args, **given)
    )
    np.testing.assert_array_equal(images(drawn(model, tmp_path)), images(samples))
    assert [indices[0] // 8 for indices in calls] == lost
    assert {file: file.read_bytes() for file in sorted(tmp_path.glob("*.npz"))} == shards


def test_png_files_hold_the_same_images(model, vanilla, tmp_path):
    np.testing.assert_array_equal(images(drawn(model, tmp_path, format="png")), images(vanilla))
    assert (tmp_path / "labels.csv").read_text().splitlines()[:3] == [
        "file,group",
        "images/0000000.png,square",
        "images/0000001.png,round",
    ]


def test_several_tau_make_a_folder_each(model, vanilla, tmp_path):
    options = made(
        Draw, model=model, out=tmp_path, method="switching", tau=(0.0, 0.5, 1.0), count=COUNT, solver="ddim", steps=STEPS,
        batch_size=BATCH,
    )  # fmt: skip
    folders = sample.draw.draw(options)
    assert folders == [tmp_path / name for name in ("tau-0.000", "tau-0.500", "tau-1.000")]
    sets = [SampleSet.open(folder) for folder in folders]
    assert [each.provenance["tau"] for each in sets] == [0.0, 0.5, 1.0]
    assert [each.provenance["timestep"] for each in sets] == [0, 500, 1000]
    np.testing.assert_array_equal(images(sets[2]), images(vanilla))


def test_a_folder_of_other_samples_is_refused_before_any_compute(model, vanilla, no_compute):
    for options, words in (
        ({"seed": 1}, "seed 0 there, 1 now"),
        ({"count": 21}, "20 samples there, 21 now"),
        ({"steps": 5}, "solver"),
    ):
        with pytest.raises(InputError, match=words):
            drawn(model, vanilla.path, **options)


def test_a_model_that_returns_nan_stops_the_drawing(model, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:

        def broken(denoise, *_, indices, **given):
            x = jnp.full((len(indices), 8, 8, 3), jnp.nan)
            return x, initial_memory(denoise, x)

        patched.setattr(sample.drawing, "sample", broken)
        with pytest.raises(InputError, match="NaN or infinity in 8 samples, the first 0"):
            drawn(model, tmp_path)
    assert not list(tmp_path.glob("*.npz"))


@pytest.fixture
def no_compute(monkeypatch):
    """Fails where a program samples or searches."""
    for module, name in ((sample.drawing, "sample"), (sample.search, "search_direct"), (sample.search, "search_prefix")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("computed"))


def transition(folder, **context) -> Transition:
    """A transition as the search would write it for `drawn`, with parts of its context changed."""
    chosen = setting(folder, "group", (), Sampling(solver="ddim", steps=STEPS))
    context = {**chosen.context(), "seed": 0, **context}
    return Transition(
        tau=0.43, timestep=430, snr=1.5, mode="direct/pixel", taus=(0.0, 0.43, 0.9), curve=(1.0, 0.2, 0.7), residual=0.2,
        evaluations=60, batch=8, context=context,
    )  # fmt: skip


def test_tau_is_read_from_its_file(model, tmp_path):
    (tmp_path / "tau.json").write_text(transition(model).to_json())
    read = drawn(model, tmp_path / "read", "switching", tau_file=tmp_path / "tau.json")
    given = drawn(model, tmp_path / "given", "switching", tau=(0.43,))
    np.testing.assert_array_equal(images(read), images(given))
    assert (read.provenance["tau"], read.provenance["search"]) == (0.43, "direct/pixel")


@pytest.mark.parametrize(
    ("context", "options", "words"),
    [
        ({"process": vp_linear().config()}, {}, ["process", "vp_linear", "vp_cosine"]),
        ({"model": "0123456789abcdef"}, {}, ["model 0123456789abcdef"]),
        ({"attribute": "hair"}, {}, ["attribute hair", "group"]),
        ({}, {"steps": 5}, ["solver", '"steps": 4', '"steps": 5']),
        ({}, {"eta": 1.0}, ["solver", '"eta": 0.0', '"eta": 1.0']),
        ({}, {"guidance_scale": 2.0}, ["guidance_scale 1.0", "2.0"]),
        ({}, {"values": ("round", "square")}, ["values", '["square", "round"]', '["round", "square"]']),
    ],
)
def test_a_tau_of_another_context_is_refused(model, tmp_path, no_compute, context, options, words):
    (tmp_path / "tau.json").write_text(transition(model, **context).to_json())
    with pytest.raises(InputError) as refused:
        drawn(model, tmp_path / "set", "switching", tau_file=tmp_path / "tau.json", **options)
    for word in ["tau=0.430", "search again", *words]:
        assert word in str(refused.value)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("content", ["", "{}", '{"tau": 0.4', "[1]", '"tau"'])
def test_a_damaged_tau_file_is_named(model, tmp_path, no_compute, content):
    (tmp_path / "tau.json").write_text(content)
    with pytest.raises(InputError, match="tau.json"):
        drawn(model, tmp_path / "set", "switching", tau_file=tmp_path / "tau.json")


def test_tau_is_searched_once_where_there_is_none(save_model, tmp_path, monkeypatch):
    model, calls = save_model(tmp_path / "run"), []

    def find(options, chosen, features):
        calls.append((options.steps, options.eta, chosen.context()["guidance_scale"], options.values, chosen.name))
        return transition(model)

    monkeypatch.setattr(sample.search, "search_features", lambda *_: None)
    monkeypatch.setattr(sample.search, "find_transition", find)
    first = drawn(model, tmp_path / "first", "switching")
    second = drawn(model, tmp_path / "second", "switching")
    assert calls == [(STEPS, 0.0, 1.0, ("square", "round"), "group")]
    assert Transition.from_json((model / "tau-group.json").read_text()) == transition(model)
    assert (model / "tau-group.png").exists()
    assert first.provenance == second.provenance and first.provenance["tau"] == 0.43


@pytest.fixture
def program(call_program):
    """Runs the program in an empty folder; gives its exit status, 0 where it returns."""
    return partial(call_program, main, "sample")


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("prefix/own/beta_eps/batch", ["--mode", "prefix", "--path", "own", "--weight", "beta_eps", "--norm", "batch"]),
        ("direct/pixel", ["--metric", "pixel"]),
    ],
)
def test_a_search_writes_the_tau_that_is_drawn_with(program, model, tmp_path, capsys, mode, options):
    common = ["--model", model, "--attribute", "group", "--solver", "ddim", "--steps", STEPS]
    assert program("search", *common, "--batch", 4, "--out", "found/tau.json", *options) == 0
    found = Transition.from_json((tmp_path / "found" / "tau.json").read_text())
    assert found.mode == mode and found.batch == 4
    # a candidate of the prefix search is the best; the direct one's vertex lies within half a spacing of it
    best = found.taus[found.curve.index(min(found.curve))]
    assert abs(found.tau - best) <= (0.5 / 12 if mode.startswith("direct") else 0) + 1e-6
    assert found.residual == pytest.approx(found.curve[found.taus.index(found.tau)] / found.curve[0])
    assert f"{found.tau:.3f}" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "found").iterdir()) == ["tau.json", "tau.png"]
    with Image.open(tmp_path / "found" / "tau.png") as picture:
        assert picture.size[0] > 400

    drawing = ["draw", *common, "--method", "switching", "--count", 8, "--batch-size", BATCH]
    assert program(*drawing, "--tau-file", "found/tau.json", "--out", "set") == 0
    provenance = SampleSet.open(tmp_path / "set").provenance
    assert (provenance["tau"], provenance["search"]) == (found.tau, mode)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--count", "0"], ["--count", "at least 1", "0"]),
        (["--batch-size", "0"], ["--batch-size", "at least 1"]),
        (["--method", "switching", "--tau", "1.5"], ["--tau", "[0, 1]", "1.5"]),
        (["--method", "switching", "--tau", "0.5", "-0.1"], ["--tau", "-0.1"]),
        (["--method", "switching", "--tau", "0.5", "0.5001"], ["--tau", "first three decimals", "0.5 0.5001"]),
        (["--tau", "0.5"], ["--tau", "--method vanilla"]),
        (["--method", "mixing", "--tau-file", "tau.json"], ["--tau-file", "--method mixing"]),
        (["--method", "switching", "--tau", "0.5", "--tau-file", "tau.json"], ["--tau", "--tau-file tau.json", "use one of"]),
        (["--method", "mixing", "--mixing", "2"], ["--mixing", "[0, 1]", "2.0"]),
        (["--method", "switching", "--tau-file", "nowhere.json"], ["--tau-file", "nowhere.json", "jaxdiff sample search"]),
        (["--attribute", "age"], ["unknown attribute 'age'", "group"]),
        (["--values", "square", "blue"], ["no value 'blue'", "square, round"]),
        (["--values", "square", "square"], ["--values", "two or more different", "square square"]),
        (["--values", "square"], ["--values", "two or more different"]),
        (["--steps", "0"], ["--steps", "at least 1"]),
        (["--eta", "1.5"], ["error: --eta", "1.5"]),
        (["--solver", "heun", "--eta", "0.5"], ["--eta is for --solver ddim", "--solver heun"]),
        (["--network-eps"], ["--network-eps is for --solver ddim", "the default solver"]),
        (
            ["--network-eps", "--solver", "ddim", "--dynamic-thresholding", "99"],
            ["--network-eps clips x0 itself", "--dynamic-thresholding"],
        ),
        (["--network-eps", "--solver", "ddim", "--method", "editing"], ["--method editing", "cannot be reversed"]),
        (["--churn", "5"], ["--churn is for --solver heun", "the default solver"]),
        (["--solver", "dpm_solver", "--spacing", "leading"], ["error: --spacing 'leading'", "DDPM table", "vp_cosine"]),
        (["--solver", "euler_maruyama"], ["euler_maruyama is unstable on vp_cosine", "g² dt"]),
        (["--solver", "rk45"], ["rk45"]),
        (["--guidance-scale", "-1"], ["--guidance-scale", "-1"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--model", "nowhere"], ["no model at nowhere", "jaxdiff train"]),
        (["--method", "magic"], ["magic"]),
    ],
)
def test_wrong_input_is_an_error_before_any_compute(program, model, tmp_path, capsys, no_compute, arguments, words):
    given = [] if "--model" in arguments else ["--model", model]
    assert program("draw", *given, "--out", "set", *arguments) == 2
    output = capsys.readouterr().err
    for word in words:
        assert word in " ".join(output.split())
    assert "Traceback" not in output and not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--attribute", "age"], ["unknown attribute 'age'", "group"]),
        (["--batch", "0"], ["--batch", "at least 1", "0"]),
        (["--steps", "1"], ["--steps", "at least 2", "1"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--reference", "nowhere.npz"], ["nowhere.npz"]),
        (["--mode", "magic"], ["magic"]),
    ],
)
def test_wrong_input_of_a_search_is_an_error_before_any_compute(program, model, tmp_path, capsys, no_compute, arguments, words):
    assert program("search", "--model", model, "--out", "tau.json", *arguments) == 2
    output = capsys.readouterr().err
    for word in words:
        assert word in " ".join(output.split())
    assert "Traceback" not in output and not (tmp_path / "tau.json").exists()


def test_where_the_result_cannot_be_written_nothing_is_searched(program, save_model, tmp_path, capsys, no_compute):
    model = save_model(tmp_path / "run")
    (tmp_path / "file").touch()
    (model / "tau-group.json").mkdir()
    for out, path in ((("--out", "file/tau.json"), "file/tau.json"), ((), "tau-group.json")):
        assert program("search", "--model", model, "--metric", "pixel", *out) == 2
        message = capsys.readouterr().err
        assert "cannot write" in message and path in message


def test_of_several_attributes_one_or_a_product_is_chosen(save_model, tmp_path, no_compute):
    hair = Attribute("hair", ("dark", "fair", "red"))
    model = save_model(tmp_path / "run", attributes=(GROUP, hair))
    for options, words in (
        ({}, "choose with --attribute, one of group, hair or more joined by [+]"),
        ({"attribute": "hair", "values": ("red",)}, "--values takes two or more different values of 'hair', got red"),
        ({"attribute": "hair+hair"}, "--attribute joins different attributes by [+], got hair[+]hair"),
        ({"attribute": "hair+eyes"}, "'eyes'"),
    ):
        with pytest.raises(InputError, match=words):
            drawn(model, tmp_path / "set", **options)
    chosen = setting(model, "hair", ("red", "dark"), Sampling(solver="ddim", steps=STEPS))
    assert chosen.names == ("red", "dark")
    np.testing.assert_array_equal(chosen.labels(np.array([0, 1])), [[-1, 2], [-1, 0]])
    both = setting(model, "hair+group", (), Sampling(solver="ddim", steps=STEPS))
    assert both.names[:3] == ("dark+square", "dark+round", "fair+square")
    np.testing.assert_array_equal(both.labels(np.arange(6)), [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(both.conditions(), both.model.conditions.encode(both.labels(np.arange(6))))
    with pytest.raises(InputError, match="unconditional"):
        drawn(save_model(tmp_path / "plain", attributes=()), tmp_path / "set", "switching")


def test_help_has_examples(program, capsys, tmp_path):
    """Once in a process of its own, as a user starts it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "sample", "draw", "--help"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT, check=True
    ).stdout
    assert shown.count("jaxdiff sample draw --model") >= 3
    assert program("search", "--help") == 0
    assert capsys.readouterr().out.count("jaxdiff sample search --model") >= 3
