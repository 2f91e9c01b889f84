"""The terminal of the programs: printing, progress bars, errors and exit codes."""

import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from jaxdiff.errors import InputError, LostProcess

console = Console()
_errors = Console(stderr=True)
_told = Console(stderr=True)  # how work goes on


def only_errors() -> None:
    """Prints errors alone from now on: of the processes of a run, the first tells how it goes."""
    console.quiet = True
    _told.quiet = True


def significant(value: float) -> str:
    """A number in three significant digits, and in all that stand before the point: no exponent from 0.001 on."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


class _Speed(ProgressColumn):
    """Units a second since the start."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{significant(speed)}{task.fields['unit']}/s")


def peak_memory() -> float:
    """The largest memory that this process has held, in GiB."""
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def device_memory() -> float | None:
    """The largest memory in use on a device of this process, in GiB; None where the devices do not tell."""
    import jax

    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if "peak_bytes_in_use" in each]
    return max(peaks) / 2**30 if peaks else None


@contextmanager
def progress(description: str, total: int, *, done: int = 0, unit: str = "") -> Generator[Callable, None, None]:
    """A progress bar on standard error, with speed and time left.

    Arguments:
        description: what is being done.
        total: how many units there are.
        done: how many were done before (a resumed run).
        unit: the unit's name, shown behind the speed.

    Yields:
        `advance(n=1, note="")`, which moves the bar by n units and shows a note behind it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=_told, disable=total < 1 or _told.quiet or not _told.is_terminal) as bar:
        # off a terminal a line now and then tells that the work goes on
        quiet = not _told.is_terminal
        task = bar.add_task(description, total=total, completed=done, unit=f" {unit}" if unit else "", note="")
        told = done

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal told
            bar.update(task, advance=n, note=note)
            completed = bar.tasks[0].completed
            if quiet and (completed - told >= total / 10 or completed == total):
                told = completed
                _told.print(f"{description}: {completed:.0f}/{total} {note}", highlight=False)

        yield advance


@contextmanager
def working(description: str) -> Generator[None, None, None]:
    """A spinner with the time spent, for work that cannot tell how far it is; off a terminal, a line at its end."""
    begun = time.monotonic()
    with Progress(
        SpinnerColumn(), TextColumn(description), TimeElapsedColumn(), console=_told, transient=True, disable=_told.quiet
    ) as bar:
        bar.add_task(description, total=None)
        yield
    _told.print(f"{description}: {time.monotonic() - begun:.0f} s", highlight=False)


def run(main: Callable[[], None]) -> None:
    """Runs a program: turns an `InputError` into one line and exit status 2.

    Of a run of several processes an `InputError` is told by all, and they end together. Any other exception ends this process
    at once, with its traceback and exit status 1: so the others, who can not go on without it, end within seconds.

    Arguments:
        main: the program; it calls `jaxdiff._console.device.prepare` before JAX is first used.
    """
    # what Orbax fills pages with is told in a line
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        main()
    except InputError as error:
        # what stands in brackets is part of the message, and no style
        _errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        if _joined():
            # of a process that is gone the others need not wait to be told
            if not isinstance(error, LostProcess):
                sys.modules["jax"].distributed.shutdown()
            _end(2)
        raise SystemExit(2) from None
    except Exception:
        if not _joined():
            raise
        traceback.print_exc()
        _errors.print(
            "[bold red]error:[/] this process of the run cannot go on, and ends the run. Where the error is that another "
            "process was lost, the same command on each machine goes on from what is saved",
            highlight=False,
            soft_wrap=True,
        )
        _end(1)


def _joined() -> bool:
    """Whether this is one of several processes of a run."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _end(status: int) -> None:
    """Ends the process without waiting for threads, which may wait for a process that is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
