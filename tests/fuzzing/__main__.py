"""`make fuzz`: tries every reader with damaged files for a given time, and prints a table of what came of it.

Each reader is tried by a process of its own, whose memory is limited, so that the rest is tried where one ends.
"""

import argparse
import faulthandler
import json
import resource
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOM = 8 * 2**30
"""The bytes that a reader's process may add to what it takes once it has imported the library."""
CHUNK = 200
"""Inputs of one seed."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="time for all readers together (3600)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (0)")
    parser.add_argument("--only", default="", help="part of the names of the readers to try")
    parser.add_argument("--table", type=Path, help="a Markdown file that the table is written to")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        print(json.dumps(_try(options.reader, options.seconds, options.seed)))
        return
    from tests.fuzzing.registry import TARGETS

    names = [name for name in TARGETS if options.only in name]
    results = {}
    for name in names:
        results[name] = _in_process(name, options.seconds / len(names), options.seed)
        print(_row(name, results[name]), flush=True)
        for failure in results[name]["failures"]:
            print(failure, file=sys.stderr, flush=True)
    table = _table(results, options.seconds)
    print(table)
    if options.table:
        options.table.write_text(table + "\n")
    sys.exit(any(result["failures"] for result in results.values()))


def _in_process(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """The results of a reader that another process tries."""
    command = [sys.executable, "-m", "tests.fuzzing", "--reader", name, "--seconds", str(seconds), "--seed", str(seed)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode == 0:
        return json.loads(ended.stdout.splitlines()[-1])
    failure = f"the process ended with status {ended.returncode}: {ended.stderr[-3000:]}"
    return {"read": 0, "refused": 0, "slowest": 0.0, "peak": 0, "seconds": seconds, "failures": [failure]}


def _try(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Tries a reader with inputs of one seed after another; a seed that finds a fault is followed by the next."""
    from tests.fuzzing.property import SECONDS, Tally, fuzz
    from tests.fuzzing.registry import TARGETS

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))
    tally, failures, started = Tally(), {}, time.monotonic()
    while time.monotonic() - started < seconds:
        # a library that hangs outside of Python is not interrupted: the process ends with a stack
        faulthandler.dump_traceback_later(CHUNK * SECONDS, exit=True)
        try:
            fuzz(TARGETS[name], tally, examples=CHUNK, seed=seed)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = "".join(traceback.format_exception(error))
            failures.setdefault(f"{type(error).__name__} at {where.filename}:{where.lineno}", text)
        seed += 1
    faulthandler.cancel_dump_traceback_later()
    return {**asdict(tally), "seconds": time.monotonic() - started, "failures": list(failures.values())}


def _row(name: str, result: dict[str, Any]) -> str:
    tried = result["read"] + result["refused"]
    return (
        f"| {name} | {tried:,} | {result['read']:,} | {result['refused']:,} | {len(result['failures'])} | "
        f"{result['seconds']:.0f} | {result['slowest']:.2f} | {result['peak'] / 2**20:.0f} |"
    )


def _table(results: dict[str, dict[str, Any]], seconds: float) -> str:
    head = [
        "| reader | inputs | read | refused | faults | seconds | slowest input (s) | peak memory added (MiB) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    total = {key: sum(result[key] for result in results.values()) for key in ("read", "refused", "seconds")}
    total |= {key: max(result[key] for result in results.values()) for key in ("slowest", "peak")}
    total["failures"] = [each for result in results.values() for each in result["failures"]]
    return "\n".join([*head, *(_row(name, result) for name, result in results.items()), _row("all", total)])


if __name__ == "__main__":
    main()
