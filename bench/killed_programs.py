"""The programs that `python -m bench kills` kills: small commands, their inputs, and what must be equal in the end."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.equal_folders import differences
from bench.faces import write_faces

MODEL = Path("checkpoints/embedded").absolute()
LATEST_END = 300  # seconds after a kill within which every process must have ended
ONCE = ("*.part", "*/shard-*.npz", "*/search/batch-*.json")
"""Files that are the result of work: none may be written twice."""
Difference = tuple[list[str], list[str]]
"""What differs between two folders, and which files are equal though not byte for byte."""


@dataclass(frozen=True)
class Killed:
    """A program to kill.

    Attributes:
        command: arguments of Python, given a folder for inputs, which it fills, and the folder of the output.
        processes: the number of processes of each start in turn.
        equal: compares the outputs of a killed and an undisturbed run.
        newest: what a restart must print, given its output before: from where it resumes; empty if nothing.
        status: the exit status of a run that is done.
    """

    command: Callable[[Path, Path], Sequence[Any]]
    processes: tuple[int, ...] = (1,)
    equal: Callable[[Path, Path], Difference] = differences
    newest: Callable[[Path], str] = lambda out: ""
    status: int = 0


def _train(steps: int, inputs: Path, out: Path) -> Sequence[Any]:
    # each step is a line of the metrics, since a checkpoint, whose time is another in each run, begins a new line;
    # a process that is killed while the others wait for it never arrives
    often = ("--save-minutes", 0.005, "--log-every", 1, "--preview-every", 100, "--arrival-seconds", LATEST_END // 2)
    return ("-m", "tests.small_training", "--steps", steps, "--out", out, *often)


def _classifier(inputs: Path, out: Path) -> Sequence[Any]:
    given = ("--data", _faces(inputs, "real", 1500), "--attribute", "glasses", "--size", 16, "--held-out", 100)
    often = ("--steps", 30, "--batch-size", 16, "--save-minutes", 0.005, "--log-every", 1)
    return ("-m", "train", "classifier", *given, *often, "--out", out)


def _export(inputs: Path, out: Path) -> Sequence[Any]:
    from jaxdiff import model as models

    if not (folder := inputs / "network").exists():
        models.save(folder, _network())
    return ("-m", "train", "export", "--model", folder, "--out", out)


def _import(inputs: Path, out: Path) -> Sequence[Any]:
    from jaxdiff import interop

    if not (folder := inputs / "exported").exists():
        interop.save(folder, _network())
    return ("-m", "train", "import", folder, "--null-label", "--value-names", "group=square,round", "--out", out)


def _import_text(inputs: Path, out: Path) -> Sequence[Any]:
    return ("-m", "train", "import", "embedded-text", "--dtype", "float32", "--out", out)


def _search(inputs: Path, out: Path) -> Sequence[Any]:
    how = ("--metric", "pixel", "--each-pair", "--batch", 4, "--solver", "ddim", "--steps", 4)
    return ("-m", "sample", "search", "--model", MODEL, *how, "--out", out / "tau.json")


_DRAWN = ("draw", "--model", MODEL, "--solver", "ddim", "--steps", 4, "--arrival-seconds", LATEST_END // 2)
# a part of every second batch or so
_SLOW = "import sys; from sample import shard; from sample.__main__ import start; shard.EVERY = 0.5; sys.argv[0] = 'x'; start()"


def _draw(count: int, inputs: Path, out: Path) -> Sequence[Any]:
    return ("-m", "sample", *_DRAWN, "--count", count, "--out", out)


def _draw_slowly(inputs: Path, out: Path) -> Sequence[Any]:
    return ("-c", _SLOW, *_DRAWN, "--count", 300, "--batch-size", 16, "--format", "png", "--out", out)


def _sweep(inputs: Path, out: Path) -> Sequence[Any]:
    searches = ("--modes", "direct/pixel", "prefix/own/beta_eps/batch", "--batches", 1, 2)
    sets = ("--tau", 0.3, 0.6, "--count", 260, "--solver", "ddim", "--steps", 4)
    return ("-m", "sample", "sweep", "--model", MODEL, *searches, *sets, "--out", out)


_SHORT = ("--seeds", 2, "--steps", 10, "--replicates", 50)


def _fairness(inputs: Path, out: Path) -> Sequence[Any]:
    sets = (_faces(inputs, "plain", 200), _faces(inputs, "no beards", 200, beard=(0.0, 0.0)))
    return ("-m", "evaluate", "fairness", *_of_group(inputs), "--associated", "glasses", "--synthetic", *sets, "--out", out)


def _self_check(inputs: Path, out: Path) -> Sequence[Any]:
    short = ("--test-count", 30, "--seeds", 1, "--steps", 2)
    return ("-m", "evaluate", "fairness", "--self-check", *_of_group(inputs), *short, "--out", out)


def _of_group(inputs: Path) -> Sequence[Any]:
    return ("--real", _faces(inputs, "real", 1500), "--attribute", "group", *_SHORT, "--permutations", 19)


def _safety(inputs: Path, out: Path) -> Sequence[Any]:
    real, sets = (
        _faces(inputs, "real", 1500),
        (_faces(inputs, "plain", 200), _faces(inputs, "glasses", 200, glasses=(1.0, 1.0))),
    )
    return ("-m", "evaluate", "safety", "--unsafe", "glasses=yes", "--real", real, *_SHORT, "--synthetic", *sets, "--out", out)


def _memorization(inputs: Path, out: Path) -> Sequence[Any]:
    attack = ("--model", MODEL, "--members", 100, "--draws", 1, "--times", 0.1, 0.3, "--batch-size", 8)
    sets = ("--samples", _faces(inputs, "plain", 200), "--train", _faces(inputs, "real", 1500))
    return ("-m", "evaluate", "memorization", *sets, *attack, "--out", out)


def _likelihood(inputs: Path, out: Path) -> Sequence[Any]:
    how = ("--count", 96, "--steps", 1, "--batch-size", 8)
    return (
        "-m", "evaluate", "likelihood", "--model", MODEL, "--data", _faces(inputs, "real", 1500), "--condition", "null", *how,
        "--out", out / "likelihood.json",
    )  # fmt: skip


def _evaluate_sweep(inputs: Path, out: Path) -> Sequence[Any]:
    given = (
        "--sweep",
        _made(inputs, "sweep", _sweep),
        "--attribute",
        "group",
        "--real",
        _faces(inputs, "large", 1500, size=32),
    )
    return ("-m", "evaluate", "sweep", *given, *_SHORT, "--permutations", 19, "--out", out)


def _report(inputs: Path, out: Path) -> Sequence[Any]:
    return ("-m", "evaluate", "report", "--fairness", _made(inputs, "fairness", _fairness), "--out", out)


def _newest_checkpoint(out: Path) -> str:
    steps = _steps(out)
    return f"resuming from step {max(steps)}" if steps else ""


def _same_run(found: Path, expected: Path) -> Difference:
    """Of checkpoints, only the newest step; their files are Orbax's."""
    wrong, alike = differences(found, expected, ignored=("checkpoints/*",))
    if max(_steps(found)) != max(_steps(expected)):
        wrong.append("the newest checkpoint")
    return wrong, alike


def _steps(run: Path) -> list[int]:
    return [int(entry.name) for entry in (run / "checkpoints").glob("*") if entry.name.isdecimal()]


def _same_function(found: Path, expected: Path) -> Difference:
    """The model's output on fixed noise. Weights are not compared, since rounding makes those without influence drift apart."""
    import jax.numpy as jnp

    from jaxdiff.model import load

    def output(folder: Path) -> np.ndarray:
        model, rng = load(folder), np.random.default_rng(0)
        noise = rng.standard_normal((8, *model.shape), np.float32)
        return np.asarray(model.denoise(jnp.asarray(noise), 0.6, model.conditions.encode(np.arange(8) % 2)))

    far = np.abs(output(found) - output(expected)).max()
    return [f"the denoised images differ by {far}"] * bool(far > 1e-5), []


def _same_levels(found: Path, expected: Path) -> Difference:
    """All images to one of 255 levels, since programs of other shapes round differently; and the names of all files."""
    from jaxdiff.sampleset import SampleSet

    one, other = (SampleSet.open(folder) for folder in (found, expected))
    far = max(np.abs(one.image(i).astype(int) - other.image(i)).max() for i in range(len(other)))
    names = [name for name in differences(found, expected)[0] if re.search("left over|missing", name)]
    return [*names, *[f"images differ by {far} levels"] * bool(far > 1)], []


PROGRAMS = {
    "train": Killed(partial(_train, 200), equal=_same_run, newest=_newest_checkpoint),
    "train, two processes": Killed(partial(_train, 20), (2,), _same_run, _newest_checkpoint),
    "train, one and two": Killed(partial(_train, 40), (1, 2), _same_function, _newest_checkpoint),
    "train classifier": Killed(_classifier, equal=_same_run, newest=_newest_checkpoint),
    "train export": Killed(_export),
    "train import": Killed(_import),
    "train import, text-to-image": Killed(_import_text),
    "sample search": Killed(_search),
    "sample draw": Killed(partial(_draw, 600)),
    "sample draw, slow shards": Killed(_draw_slowly),
    "sample draw, two, four and one": Killed(partial(_draw, 1280), (2, 4, 1), _same_levels),
    "sample sweep": Killed(_sweep),
    "evaluate fairness": Killed(_fairness),
    "evaluate fairness --self-check": Killed(_self_check, status=1),
    "evaluate safety": Killed(_safety),
    "evaluate memorization": Killed(_memorization),
    "evaluate likelihood": Killed(_likelihood),
    "evaluate sweep": Killed(_evaluate_sweep),
    "evaluate report": Killed(_report),
}


def _made(inputs: Path, name: str, command: Callable[[Path, Path], Sequence[Any]]) -> Path:
    """The output of another program."""
    from tests.processes import succeed

    if not (folder := inputs / name).exists():
        succeed(command(inputs, folder), 1)
    return folder


def _faces(inputs: Path, name: str, count: int, size: int = 16, **shares: tuple[float, float]) -> Path:
    """A data set of generated faces of their own, with these shares of attributes in the two groups."""
    file = inputs / f"{name}.npz"
    if not file.exists():
        first = 10**6 * (1 + ["real", "large", "plain", "no beards", "glasses"].index(name))
        write_faces(file, np.arange(count) + first, size=size, **shares)
    return file


def _network() -> Any:
    """An untrained model that can be exported."""
    import jax

    from jaxdiff import model as models
    from jaxdiff.data import Attribute
    from jaxdiff.models.config import UNetConfig
    from jaxdiff.models.network import unet
    from jaxdiff.process import vp_cosine

    config = UNetConfig(
        size=16, values=(2,), base=32, multipliers=(1, 2), blocks=1, attention=(), head_channels=16, dropout=0.0
    )
    attributes = (Attribute("group", ("square", "round")),)
    return models.image_model(config, unet(config, jax.random.key(0)), vp_cosine(), "v", attributes, {"data": "embedded"})
