"""Readers of results: searches, reports, and the files of a training run."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from evaluate.html_report import html_report
from evaluate.options.html_report import HtmlReport
from jaxdiff.boundary import read_text
from jaxdiff.checkpoint import Checkpoints
from jaxdiff.data import Attribute
from jaxdiff.fairness import PairTransitions, SpectralTransition, Transition
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from sample.transitions import _read as read_search
from tests.evaluate.test_report_page import VALUES, written_report
from tests.fuzzing.property import Target
from train.folder import claimed

_SEARCH = {"mode": "direct/pixel", "evaluations": 20, "batch": 4, "context": {"process": {"name": "vp_cosine"}, "steps": 5}}
_ONE = Transition(**_SEARCH, tau=0.5, timestep=500, snr=1.0, taus=(0.4, 0.5, 0.6), curve=(0.2, 0.1, math.nan), residual=0.1)
_PAIRS = PairTransitions(**_SEARCH, tau=((1.0, 0.4), (0.4, 1.0)), residual=((1.0, 0.2), (0.2, 1.0)))
_BANDS = SpectralTransition(
    **_SEARCH, taus=(0.9, 0.4), tried=((0.0, 0.0), (0.9, 0.4)), curves=((1.0, 1.0), (0.2, 0.1)), residual=(0.2, 0.1)
)


def _search(found) -> Target:
    def written(folder: Path) -> Path:
        (folder / "tau.json").write_text(found.to_json())
        return folder / "tau.json"

    def read(path: Path) -> None:
        again = read_search(path, read_text(path), (type(found),))
        taus = again.tau if hasattr(again, "tau") else again.taus
        assert np.asarray(taus).dtype == np.float32 or np.all((np.asarray(taus, float) >= 0) & (np.asarray(taus, float) <= 1))
        assert type(again).from_json(again.to_json()).to_json() == again.to_json() and again.summary
        again.require({**again.context, "guard": again.context.get("guard"), "modifiers": again.context.get("modifiers")})

    return Target(written, read, examples=80)


def _training(folder: Path) -> Path:
    (folder / "run").mkdir()
    config = {"options": {"steps": 5, "seed": 0}, "data": {"name": "embedded", "values": ["a", "b"]}}
    (folder / "run" / "config.json").write_text(json.dumps(config))
    lines = "\n".join(json.dumps({"step": step, "loss": 0.5, "seconds": 1.0}) for step in (1, 2, 3))
    (folder / "run" / "metrics.jsonl").write_text(lines + "\n")
    return folder / "run"


def _resume(path: Path) -> None:
    before = (path / "metrics.jsonl").read_bytes()
    config = {"options": {"steps": 5, "seed": 0}, "data": {"name": "embedded", "values": ["a", "b"]}}
    try:
        with claimed(path, config) as folder:
            folder.forget_after(2)
            for line in (path / "metrics.jsonl").read_text().splitlines():
                assert json.loads(line)["step"] <= 2
    finally:
        (path / "metrics.jsonl").write_bytes(before)


STATE = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "n": np.int32(7)}
POSITION = {"step": 3, "data": {"next_index": 3}}


def _checkpoint(folder: Path) -> Path:
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(3, jax.tree.map(jnp.asarray, STATE), POSITION)
    return folder / "checkpoints"


def _restore(path: Path) -> None:
    with Checkpoints(path) as checkpoints:
        state, position = checkpoints.restore(3, jax.tree.map(jnp.asarray, STATE))
    jax.tree.map(np.testing.assert_array_equal, state, STATE)
    assert position == POSITION


def _report(folder: Path) -> Path:
    images, labels = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 3), np.uint8), np.arange(8)[:, None] % 2
    split = np.array(["train", "test"])[np.arange(8) // 2 % 2]
    np.savez(folder / "real.npz", images=images, labels=labels, attributes=["group"], values_group=list(VALUES), split=split)
    attributes, provenance = (Attribute("group", VALUES),), {"seed": 0, "method": "vanilla", "values": list(VALUES)}
    made = SampleSet.create(folder / "set", provenance, attributes, labels.astype(np.int32), space=Pixels(8, 8, 3))
    made.write(0, images)
    options = {
        "synthetic": [str(folder / "set")],
        "attribute": "group",
        "real": str(folder / "real.npz"),
        "values": [],
        "seed": 0,
    }
    written_report(folder / "report", [folder / "set"], options=options)
    return folder / "report"


def _page(path: Path) -> None:
    html_report(HtmlReport(out=path))
    assert (path / "report.html").read_text().rstrip().endswith("</html>")


RESULTS: dict[str, Target] = {
    "search": _search(_ONE),
    "search of pairs": _search(_PAIRS),
    "spectral search": _search(_BANDS),
    "training run": Target(_training, _resume),
    "checkpoint of training": Target(_checkpoint, _restore, examples=40),
    "checkpoint of training, its position": Target(_checkpoint, _restore, examples=20, files="position/metadata"),
    "report": Target(_report, _page, examples=30, files="report/report.json"),
}
