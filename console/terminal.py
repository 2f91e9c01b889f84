"""The terminal of the programs: printing, progress bars, errors and exit codes."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
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

from console.device import prepare
from jaxdiff.errors import InputError

console = Console()
_errors = Console(stderr=True)


class _Speed(ProgressColumn):
    """Units a second since the start."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}{task.fields['unit']}/s")


def peak_memory() -> float:
    """The largest memory that this process has held, in GiB."""
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


@contextmanager
def progress(description: str, total: int, *, done: int = 0, unit: str = "") -> Iterator[Callable]:
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
    with Progress(*columns, console=_errors, disable=total < 1 or not _errors.is_terminal) as bar:
        # off a terminal a line now and then tells that the work goes on
        quiet = not _errors.is_terminal
        task = bar.add_task(description, total=total, completed=done, unit=f" {unit}" if unit else "", note="")
        told = done

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal told
            bar.update(task, advance=n, note=note)
            completed = bar.tasks[0].completed
            if quiet and (completed - told >= total / 10 or completed == total):
                told = completed
                _errors.print(f"{description}: {completed:.0f}/{total} {note}", highlight=False)

        yield advance


@contextmanager
def working(description: str) -> Iterator[None]:
    """A spinner with the time spent, for work that cannot tell how far it is; off a terminal, a line at its end."""
    begun = time.monotonic()
    with Progress(SpinnerColumn(), TextColumn(description), TimeElapsedColumn(), console=_errors, transient=True) as bar:
        bar.add_task(description, total=None)
        yield
    _errors.print(f"{description}: {time.monotonic() - begun:.0f} s", highlight=False)


def run(main: Callable[[], None]) -> None:
    """Runs a program: sets the machine up, and turns an `InputError` into one line and exit status 2."""
    prepare()
    try:
        main()
    except InputError as error:
        # what stands in brackets is part of the message, and no style
        _errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
