"""Drawing killed again and again, at random times, and gone on with by other numbers of processes."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from console.terminal import console


@dataclass(frozen=True)
class KillSampling:
    """Draws a set while its processes are killed, one of two or four or the single one, by SIGKILL or SIGTERM in turn, and goes
    on with 1, 2 or 4 processes, until it is whole; again and again. Each set must be the undisturbed one: every sample there
    once, of its own index, equal to the bit or, where another number of processes drew it, to rounding.

    Examples:

      python -m bench kill-sampling --kills 20
    """

    model: Path = Path("checkpoints/embedded")
    """Folder of a run, or a model.safetensors."""
    folder: Path = Path("/tmp/kill-sampling")
    """Where to draw; emptied first."""
    kills: int = 20
    """How many runs to kill, at least."""
    count: int = 2048
    """Samples of a set."""
    steps: int = 8
    """Steps of DDIM; with --count, how long a set takes."""
    size: int = 64
    """Images at once."""
    seed: int = 0
    """Of the times, the signals and the numbers of processes."""
    longest: float = 600.0
    """Seconds after which a run counts as hung."""


def kill_sampling(options: KillSampling) -> None:
    """Kills, goes on, compares and prints.

    Raises:
        SystemExit: with status 1, where a set is not the undisturbed one or a run hung.
    """
    import numpy as np

    from jaxdiff.sampleset import SampleSet
    from tests.processes import started, succeed

    chance, told, killed, sets = random.Random(options.seed), Counter(), 0, 0
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)

    def arguments(folder: Path) -> tuple:
        return (
            "-m", "sample", "draw", "--model", options.model.absolute(), "--out", folder, "--count", options.count,
            "--solver", "ddim", "--steps", options.steps, "--batch-size", options.size,
            "--arrival-seconds", 30,
        )  # fmt: skip

    begun = time.monotonic()
    succeed(arguments(options.folder / "whole"), 1, timeout=options.longest)
    whole = SampleSet.open(options.folder / "whole")
    wanted = np.stack([whole.image(i) for i in range(options.count)]).astype(int)
    # programs come from the user's cache from here on, so that most of a run is drawing
    alone = time.monotonic() - begun
    while killed < options.kills:
        folder, runs, alone_drawn = options.folder / f"set-{sets}", [], set()
        while True:
            processes = chance.choice((1, 2, 2, 4))
            number, victim = chance.choice((signal.SIGKILL, signal.SIGTERM)), chance.randrange(processes)
            last, before = len(runs) >= 6, {file.name for file in folder.glob("shard-*.npz")}
            with started(arguments(folder), processes) as running:
                # at some number of shards, a moment later; one run in four sooner, while it starts and compiles
                shards = chance.randint(len(list(folder.glob("shard-*.npz"))), len(whole.shards()))
                soon, moment = chance.random() < 0.25, chance.uniform(0, 1)
                limit = time.monotonic() + (options.longest if last else moment * alone if soon else options.longest)
                while time.monotonic() < limit and any(each.popen.poll() is None for each in running):
                    if not last and not soon and len(list(folder.glob("shard-*.npz"))) >= shards:
                        limit, soon = time.monotonic() + moment, True
                    time.sleep(0.01)
                alive = [each for each in running if each.popen.poll() is None]
                if alive:
                    running[victim].send(number)
                    killed += 1
                    told[f"{number.name}, {processes} processes"] += 1
                ended = [each.end(options.longest) for each in running]
            present = {file.name for file in folder.glob("shard-*.npz")}
            alone_drawn |= present - before if processes == 1 else set()
            runs.append((processes, number.name if alive else "finished", [each.code for each in ended]))
            if not alive and all(each.code == 0 for each in ended):
                break
            if not alive:
                raise AssertionError("\n".join(each.output for each in ended))
        finished = SampleSet.open(folder)
        got = np.stack([finished.image(i) for i in range(options.count)]).astype(int)
        difference = np.abs(got - wanted)
        files = sorted(file.name for file in folder.iterdir())
        told["sets"] += 1
        told["values that differ by one level"] += int((difference == 1).sum())
        told["values that differ by more"] += int((difference > 1).sum())
        same = [(folder / name).read_bytes() == (whole.path / name).read_bytes() for name in alone_drawn]
        told["shards drawn by one process, as the undisturbed ones were"] += len(same)
        told["of these equal to the byte"] += sum(same)
        left = [name for name in files if name.endswith(".partial")]
        told["half-written files left"] += len(left)
        shards = [name for name in files if name.startswith("shard")]
        if difference.max() > 1 or left or not all(same) or len(shards) != len(whole.shards()):
            console.print(f"set {sets} is wrong: {runs}, {files}")
            raise SystemExit(1)
        console.print(f"set {sets}: {runs}; {killed} killed", highlight=False)
        sets += 1
        shutil.rmtree(folder)
    console.print(f"{killed} killed, {dict(told)}, of {wanted.size} values a set, on {os.cpu_count()} cores", highlight=False)
