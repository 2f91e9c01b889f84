"""SIGINT and SIGTERM: one line that says what is kept, exit status 130 or 143, and a second one ends at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jaxdiff._console.interrupts import Interrupted, deferred, keeping, watched
from jaxdiff._console.terminal import run

PROGRAM = """
import os, signal, sys, time
from jaxdiff._console import interrupts
from jaxdiff._console.interrupts import deferred, keeping
from jaxdiff._console.terminal import start
signal.signal(signal.SIGINT, signal.default_int_handler)

def main():
    with keeping("what is finished is kept in out"):
        print("begun", flush=True)
        {work}

start(main)
"""
IMPORTING = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Interrupting)
sys.argv = ["jaxdiff", *{arguments}]
runpy.run_module({module!r}, run_name="__main__")
"""
SLEEPING = "time.sleep(60)"
CLEANING = "\n        try: time.sleep(60)\n        finally: time.sleep(60)"
DEAF = "import hashlib; interrupts.GRACE = 0.5; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
FAILING = "\n        try: time.sleep(60)\n        except KeyboardInterrupt: raise RuntimeError('a computation was cut off')"
COLLECTING = """
        import gc
        def collected(phase, info):
            if phase == "start":
                print("collecting", flush=True)
                time.sleep(60)
        gc.callbacks.append(collected)
        gc.collect()
        gc.callbacks.clear()
        time.sleep(60)
"""
LINE = "interrupted: what is finished is kept in out; run the same command again to go on\n"


def interrupted(work, *numbers, word="begun", pause=0.3):
    """The exit status of a program that receives these signals, its errors, and the seconds that it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.stdout.readline() != f"{word}\n":
        pass
    begun = time.monotonic()
    for number in numbers:
        time.sleep(pause)
        process.send_signal(number)
    errors = process.communicate(timeout=50)[1]
    return process.returncode, errors, time.monotonic() - begun


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("work", [SLEEPING, FAILING])
def test_an_interrupt_is_one_line_and_its_status(number, status, work):
    code, errors, seconds = interrupted(work, number)
    assert (code, errors) == (status, LINE) and seconds < 30


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("sample", "jaxdiff._console.commands", ["draw"]),
        ("train", "tyro", []),
        ("evaluate", "tyro", ["safety"]),
        ("jaxdiff", "jaxdiff._programs.sample", ["sample", "draw"]),
        ("jaxdiff", "jaxdiff._console.terminal", ["demo"]),
        ("jaxdiff._programs.cache", "rich", ["list"]),
    ],
)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_while_modules_are_imported_is_one_line(module, name, arguments, number, status):
    code = IMPORTING.format(name=name, number=int(number), arguments=arguments, module=module)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == status, ended
    assert ended.stderr == "interrupted: nothing was written; run the same command again to go on\n" and not ended.stdout


def test_a_second_interrupt_ends_at_once():
    code, errors, seconds = interrupted(CLEANING, signal.SIGINT, signal.SIGTERM)
    assert code == 143 and "Traceback" not in errors and seconds < 30


def test_a_computation_that_cannot_be_left_is_ended_after_a_while():
    code, errors, seconds = interrupted(DEAF, signal.SIGTERM)
    assert (code, errors) == (143, LINE) and 0.5 < seconds < 30


def test_an_interrupt_where_no_exception_can_leave_is_not_lost():
    code, errors, seconds = interrupted(COLLECTING, signal.SIGINT, word="collecting")
    assert (code, errors) == (130, LINE) and seconds < 30


def test_an_interrupt_waits_for_an_import_which_an_exception_may_crash(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import sys, time\nprint('importing', flush=True)\ntime.sleep(1)\nprint('imported', file=sys.stderr, flush=True)"
    )
    code, errors, seconds = interrupted(
        f"sys.path.insert(0, {str(tmp_path)!r}); import slow; time.sleep(60)", signal.SIGTERM, word="importing"
    )
    assert (code, errors) == (143, f"imported\n{LINE}") and seconds < 30


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watched():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_restored(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as ended:
        run(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(10))
    assert ended.value.code == 143
    assert capsys.readouterr().err == "interrupted: nothing was written; run the same command again to go on\n"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_deferred_work_ends_by_itself():
    with deferred() as interrupts:
        assert interrupts.first is None
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        assert interrupts.first.status == 130


def test_the_outermost_words_say_what_is_kept():
    with keeping("a is kept"), keeping("b is kept"), pytest.raises(Interrupted, match="^interrupted: a is kept; "), watched():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
