"""`python -m sample sweep`: no step is repeated or mixed up."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample.drawing
import sample.search
import sample.sweep
from evaluate.__main__ import main as evaluate_main
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.sampleset import SampleSet
from sample import command_line
from sample.__main__ import main as sample_main
from sample.draw import draw
from sample.options import MODES, Draw, Sampling, Sweep
from sample.setting import setting
from sample.sweep import context, planned, search_features, sweep

STEPS, COUNT, TAUS, BATCHES = 4, 32, (0.4, 0.9), (1, 3)
GROUP = Attribute("group", ("dark", "bright"))
FILES = {
    "batch-1-direct-feature.json": ("direct/feature", 1),
    "batch-3-direct-feature.json": ("direct/feature", 3),
    "batch-1-prefix-own-beta_eps-batch.json": ("prefix/own/beta_eps/batch", 1),
    "batch-3-prefix-own-beta_eps-batch.json": ("prefix/own/beta_eps/batch", 3),
}
SEARCHED = ("direct/feature", "prefix/own/beta_eps/batch")


@pytest.fixture(scope="module")
def model(save_model, tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "run", attributes=(GROUP,), size=16)


def rows(x):
    """What the searches look at here, in place of a trained classifier."""
    return x.mean(axis=2)


@pytest.fixture(scope="module")
def learnt():
    """The metrics that were learnt from real images, in order; learning itself is left out."""
    calls = []

    def features(name, *_):
        calls.append(name)
        return rows

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sample.search, "reference_features", features)
        yield calls


def options(model, out, **given) -> Sweep:
    """The small sweep of these tests, or one that differs from it."""
    same = {"steps": STEPS, "tau": TAUS, "count": COUNT, "batches": BATCHES, "modes": SEARCHED, "batch_size": COUNT}
    return command_line.made(Sweep, model=model, out=out, **{**same, **given})


@pytest.fixture(scope="module")
def swept(model, learnt, tmp_path_factory) -> Path:
    """The folder of a finished sweep."""
    out = tmp_path_factory.mktemp("sweeps") / "sweep"
    folders = sweep(options(model, out))
    assert folders == [out / "tau-0.400", out / "tau-0.900"]
    assert learnt == ["feature"]  # once for all batch sizes
    return out


@pytest.fixture
def no_compute(monkeypatch):
    """Fails where a program learns, searches or samples."""
    for module, names in (
        (sample.search, ("reference_features", "search_direct", "search_prefix")),
        (sample.drawing, ("sample",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("computed"))


def times(folder) -> dict[str, int]:
    """When each file of searches and sets was written."""
    files = [*folder.glob("search/*.json"), *folder.glob("tau-*/shard-*.npz"), *folder.glob("tau-*/samples.json")]
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in files}


def test_each_search_has_its_file_and_each_tau_its_set(swept):
    found = {file.name: Transition.from_json(file.read_text()) for file in (swept / "search").glob("*.json")}
    assert {name: (each.mode, each.batch) for name, each in found.items()} == FILES
    for each in found.values():
        assert each.residual == pytest.approx(each.curve[each.taus.index(each.tau)] / each.curve[0], rel=1e-12)
        assert each.context["seed"] == 0 and each.context["seconds"] >= 0
    sets = [SampleSet.open(folder) for folder in sorted(swept.glob("tau-*"))]
    assert [(each.provenance["tau"], len(each)) for each in sets] == [(tau, COUNT) for tau in TAUS]
    with Image.open(swept / "criterion.png") as picture:
        assert picture.size[0] > 400


def test_the_default_sweep_has_every_mode_at_the_largest_batch_and_two_at_all(model, tmp_path):
    plan = [(mode, search.batch) for mode, search in planned(Sweep(model, tmp_path)).values()]
    assert {mode for mode, batch in plan if batch == 256} == set(MODES) and len(plan) == len(set(plan)) == 13
    for mode in MODES:
        many = mode in SEARCHED
        assert [batch for other, batch in plan if other == mode] == ([1, 4, 16, 64, 256] if many else [256])


@pytest.mark.parametrize("mode", SEARCHED)
def test_a_search_of_the_sweep_is_the_search_of_the_search_program(model, learnt, swept, tmp_path, mode):
    file, search = next((file, search) for file, (other, search) in planned(options(model, swept)).items() if other == mode)
    alone = sample.search.search(replace(search, out=tmp_path / "tau.json"))
    found = Transition.from_json(file.read_text())
    assert alone.context.items() <= found.context.items()
    assert replace(found, context={}) == replace(alone, context={})
    assert (found.mode, found.batch) == (mode, search.batch)


def test_a_sweep_from_no_label_draws_and_searches_nothing(model, tmp_path):
    folders = sweep(options(model, tmp_path / "sweep", start="none"))
    assert sorted((tmp_path / "sweep").iterdir()) == folders == [tmp_path / "sweep" / f"tau-{tau:.3f}" for tau in TAUS]
    assert SampleSet.open(folders[0]).provenance["start"] == "none"


def test_the_sets_are_those_of_the_draw_program_bit_for_bit(model, swept, tmp_path):
    for tau in TAUS:
        given = {"tau": (tau,), "count": COUNT, "batch_size": COUNT, "steps": STEPS}
        (alone,) = draw(command_line.made(Draw, model=model, out=tmp_path / str(tau), method="switching", **given))
        (drawn,) = (SampleSet.open(folder) for folder in swept.glob(f"tau-{tau:.3f}"))
        single = SampleSet.open(alone)
        assert drawn.provenance == single.provenance
        np.testing.assert_array_equal(drawn.labels, single.labels)
        for i in range(COUNT):
            np.testing.assert_array_equal(drawn.image(i), single.image(i))


def test_a_finished_sweep_is_read_and_not_made_again(model, swept, no_compute, capsys):
    before = times(swept)
    assert len(before) == len(FILES) + 2 * len(TAUS)
    sweep(options(model, swept))
    assert times(swept) == before
    printed = capsys.readouterr().out
    for mode in SEARCHED:
        assert mode in printed


def test_a_sweep_that_was_cut_off_makes_only_what_is_missing(model, learnt, swept):
    before, learning = times(swept), len(learnt)
    lost = {"search/batch-3-prefix-own-beta_eps-batch.json", "tau-0.900/shard-00000.npz"}
    contents = {name: (swept / name).read_bytes() for name in lost}
    for name in lost:
        (swept / name).unlink()
    sweep(options(model, swept))
    assert {name for name, time in times(swept).items() if time != before[name]} == lost
    assert len(learnt) == learning  # what is missing does not look at real images
    assert (swept / "tau-0.900/shard-00000.npz").read_bytes() == contents["tau-0.900/shard-00000.npz"]
    again = [json.loads(content) for content in (contents[min(lost)], (swept / min(lost)).read_bytes())]
    for each in again:
        del each["context"]["seconds"]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": STEPS + 1}, ["batch-1-direct-feature.json", "solver", "--out"]),
        ({"seed": 1}, ["batch-1-direct-feature.json", "seed 0", "seed 1"]),
        ({"guidance_scale": 2.0}, ["guidance_scale 1.0", "2.0"]),
        ({"values": ("bright", "dark")}, ["values", "bright"]),
        ({"reference": "photographs.npz"}, ["reference embedded", "photographs.npz"]),
        ({"count": COUNT + 2}, ["tau-0.400", "32 samples there, 34 now"]),
    ],
)
def test_a_sweep_of_another_context_is_refused_before_any_compute(model, swept, no_compute, given, words):
    before = times(swept)
    with pytest.raises(InputError) as refused:
        sweep(options(model, swept, **given))
    for word in words:
        assert word in str(refused.value)
    assert times(swept) == before


def test_a_reference_belongs_only_to_the_searches_that_use_it(model, swept, no_compute):
    sweep(options(model, swept, modes=("prefix/own/beta_eps/batch",), reference="photographs.npz"))


def test_only_whitened_and_feature_use_real_images(model, learnt, tmp_path):
    chosen, before = setting(model, None, (), Sampling(steps=STEPS)), len(learnt)
    plan = dict(planned(options(model, tmp_path, modes=MODES)).values())
    looking = {mode for mode, search in plan.items() if search_features(search, chosen) is not None}
    assert looking == {"direct/feature", "direct/whitened"} and sorted(learnt[before:]) == ["feature", "whitened"]
    assert looking == {mode for mode, search in plan.items() if context(search, chosen).get("reference") == "embedded"}


@pytest.mark.parametrize("content", ["", "{}", "other"])
def test_a_damaged_or_exchanged_search_is_named(model, swept, tmp_path, no_compute, content):
    (tmp_path / "search").mkdir()
    other = (swept / "search" / "batch-3-direct-feature.json").read_text()
    (tmp_path / "search" / "batch-1-direct-feature.json").write_text(other if content == "other" else content)
    with pytest.raises(InputError, match="batch-1-direct-feature.json"):
        sweep(options(model, tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tau", "0.5"], ["--tau", "two or more", "0.5"]),
        (["--tau", "0.5", "0.5001"], ["--tau", "first three decimals", "0.5001"]),
        (["--tau", "0.5", "1.5"], ["--tau", "[0, 1]", "1.5"]),
        (["--batches", "0", "4"], ["--batches", "at least 1", "0"]),
        (["--batches", "4", "4"], ["--batches", "different values", "4 4"]),
        (["--batches"], ["--batches", "one or more", "none"]),
        (["--modes"], ["--modes", "one or more", "none"]),
        (["--modes", "direct/magic"], ["direct/magic"]),
        (["--steps", "2"], ["--steps", "at least 3", "2"]),
        (["--count", "0"], ["--count", "at least 1", "0"]),
        (["--attribute", "age"], ["unknown attribute 'age'", "group"]),
        (["--phases", "0.1", "1"], ["phase boundaries", "0.1, 1.0"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--spacing", "karras", "--tau", "0.5", "0.995"], ["--tau must be 1 or at most 0.992", "20 steps", "got 0.995"]),
        (["--modes", "prefix/own/beta_eps/batch", "direct/latent"], ["latent", "for models of latents"]),
        (["--fair-table", "embedded"], ["--fair-table", "no search finds tau", "--tau 0.6"]),
        (["--method=mixing"], ["--method is no option", "sample draw"]),
    ],
)
def test_wrong_input_is_an_error_before_any_compute(call_program, model, tmp_path, capsys, no_compute, arguments, words):
    assert call_program(sample_main, "sample", "sweep", "--model", model, "--out", "sweep", *arguments) == 2
    output = " ".join(capsys.readouterr().err.split())
    for word in words:
        assert word in output
    assert "Traceback" not in output and not (tmp_path / "sweep").exists()


def test_what_the_sample_program_sweeps_can_be_evaluated(call_program, swept, tmp_path):
    labels = np.arange(200) % 2
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "real.npz", images=images, labels=labels, attributes=["group"], values_group=list(GROUP.values))
    given = ["--steps", "1", "--batch", "16", "--seeds", "1", "--permutations", "19", "--replicates", "100"]
    arguments = ["--sweep", swept, "--attribute", "group", "--real", "real.npz", "--out", "report", *given]
    assert call_program(evaluate_main, "evaluate", "sweep", *arguments) == 0
    written = json.loads((tmp_path / "report" / "sweep.json").read_text())
    assert [each["tau"] for each in written["sets"]] == list(TAUS)
    assert {(each["mode"], each["batch"]) for each in written["searches"]} == set(FILES.values())


@pytest.mark.parametrize(("main", "name"), [(sample_main, "sample"), (evaluate_main, "evaluate")])
def test_help_has_examples(call_program, capsys, main, name):
    assert call_program(main, name, "sweep", "--help") == 0
    assert capsys.readouterr().out.count(f"jaxdiff {name} sweep --") >= 2
