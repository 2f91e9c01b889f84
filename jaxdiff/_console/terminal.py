"""Terminal output of the programs: printing, progress bars, errors and exit codes."""

import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from rich.console import Console
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

from jaxdiff._console.interrupts import Interrupted, end_at_once, watched
from jaxdiff._console.pipes import surviving_output
from jaxdiff._console.runtime_log import say_no_more
from jaxdiff.errors import InputError, LostProcess

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class PlainConsole(Console):
    """A console that shows text as it is: names of users may have brackets, colons and control characters."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(text.translate(_CONTROL), **options)


console = PlainConsole()
_errors = PlainConsole(stderr=True)
_progress = PlainConsole(stderr=True)  # progress


def only_errors() -> None:
    """Prints only errors from now on; among the processes of a run only the first prints progress."""
    console.quiet = True
    _progress.quiet = True


def significant(value: float) -> str:
    """A number with three significant digits, or all digits before the point: no exponent from 0.001 on."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


class _Speed(ProgressColumn):
    """Units per second since the start."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{significant(speed)}{task.fields['unit']}/s")


def peak_memory() -> float:
    """The peak memory of this process, in GiB."""
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def device_memory() -> float | None:
    """The peak memory in use on a device of this process, in GiB; None if the devices do not report it."""
    import jax

    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if "peak_bytes_in_use" in each]
    return max(peaks) / 2**30 if peaks else None


@contextmanager
def progress(description: str, total: int, *, done: int = 0, unit: str = "") -> Generator[Callable, None, None]:
    """A progress bar on standard error, with speed and remaining time.

    Arguments:
        description: the text before the bar.
        total: number of units.
        done: number of units already done (a resumed run).
        unit: name of the unit, shown after the speed.

    Yields:
        `advance(n=1, note="")`, which advances the bar by n units and shows a note after it.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    description = description.translate(_CONTROL)
    with Progress(*columns, console=_progress, disable=total < 1 or _progress.quiet or not _progress.is_terminal) as bar:
        # without a terminal, print a line at every tenth of the work
        quiet = not _progress.is_terminal
        task = bar.add_task(description, total=total, completed=done, unit=f" {unit}" if unit else "", note="")
        printed = done

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal printed
            bar.update(task, advance=n, note=note.translate(_CONTROL))
            completed = bar.tasks[0].completed
            if quiet and (completed - printed >= total / 10 or completed == total):
                printed = completed
                _progress.print(f"{description}: {completed:.0f}/{total} {note}", highlight=False)

        yield advance


@contextmanager
def reported(description: str, unit: str = "") -> Generator[Callable[[str, int, int], None], None, None]:
    """A progress bar for work that reports itself: it begins with what was finished before, and says so.

    Arguments:
        description: the text before the bar.
        unit: name of the unit, shown after the speed.

    Yields:
        `report(note, done, total)`: shows a note, the units done and their total number; first with those that were finished.
    """
    with ExitStack() as shown:
        advance, before = None, 0

        def report(note: str, done: int, total: int) -> None:
            nonlocal advance, before
            if advance is None:
                if done:
                    _progress.print(
                        f"resuming: {done} of {total} {unit or 'parts'} were finished ({description})", highlight=False
                    )
                advance, before = shown.enter_context(progress(description, total, done=done, unit=unit)), done
            advance(done - before, note=note)
            before = done

        yield report


@contextmanager
def working(description: str) -> Generator[None, None, None]:
    """A spinner with the elapsed time, for work without measurable progress; prints a line at its end."""
    begun, description = time.monotonic(), description.translate(_CONTROL)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=_progress,
        transient=True,
        disable=_progress.quiet,
    ) as bar:
        bar.add_task(description, total=None)
        yield
    _progress.print(f"{description}: {time.monotonic() - begun:.0f} s", highlight=False)


def start(main: Callable[[], None]) -> None:
    """Runs the program of this process, see `run`: after it, while Python ends, an interrupt ends the process at once."""
    try:
        run(main)
    finally:
        end_at_once()


def run(main: Callable[[], None]) -> None:
    """Runs a program: turns an `InputError` into a one-line message and exit status 2.

    An interrupt, SIGINT or SIGTERM, ends it with a line that says what is kept, and exit status 130 or 143; a second one at
    once. In a run of several processes all print the `InputError`, and they end together. Any other exception ends this process
    at once, with its traceback and exit status 1; the others, which cannot continue without it, end within seconds.

    Arguments:
        main: the program; it calls `jaxdiff._console.device.prepare` before JAX is first used.
    """
    # Orbax logs pages for what we print in one line
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    with surviving_output(), watched() as interrupts:
        try:
            with _lost_processes():
                main()
        except (Exception, Interrupted) as error:
            # what fails after an interrupt fails because of it
            interrupted = interrupts.first if interrupts else None
            _end_by(interrupted or error)


def _end_by(error: Exception | Interrupted) -> NoReturn:
    """Prints an exception and ends the process."""
    if isinstance(error, Interrupted):
        _print_line(str(error))
        if _joined():
            _end(error.status)
        raise SystemExit(error.status) from None
    if isinstance(error, InputError):
        _print_error(str(error))
        if _joined():
            # with a lost process there is nothing to shut down in order
            if isinstance(error, LostProcess):
                say_no_more()
            else:
                sys.modules["jax"].distributed.shutdown()
            _end(2)
        raise SystemExit(2) from None
    if not _joined():
        raise error
    traceback.print_exception(error)
    _print_error(
        "this process of the run failed and ends the run. If another process was lost, run the same command on each machine "
        "again to resume from the last saved state"
    )
    _end(1)


def _print_error(words: str) -> None:
    _print_line(Text.assemble(("error:", "bold red"), " ", words.translate(_CONTROL)))


def _print_line(words: str | Text) -> None:
    _errors.print(words, highlight=False, soft_wrap=True)


@contextmanager
def _lost_processes() -> Generator[None, None, None]:
    """Raises `LostProcess` in place of the errors that a computation over several processes raises if one of them is lost."""
    try:
        yield
    except Exception as error:
        if _joined():
            from jaxdiff.parallel import lost_process

            if lost := lost_process(error):
                raise lost from error
        raise


def _joined() -> bool:
    """Whether this is one of several processes of a run."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _end(status: int) -> NoReturn:
    """Ends the process without waiting for threads, which may wait for a lost process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
