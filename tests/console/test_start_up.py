"""Help and option errors import nothing heavy and fit a screen, and the machine is set up before JAX is imported."""

import inspect
import json
import os
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import docstring_parser
import pytest
from jaxdiff._programs.evaluate.__main__ import OPTIONS as EVALUATE
from jaxdiff._programs.sample.__main__ import OPTIONS as SAMPLE
from jaxdiff._programs.train.__main__ import OPTIONS as TRAIN

import jaxdiff
from jaxdiff import __main__ as command
from tests.processes import LIMIT, QUICK

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (TRAIN, SAMPLE, EVALUATE)
COMMANDS = [(program, name) for program in PROGRAMS for name in program.commands]
HEAVY = (
    "flax", "grain", "jax", "jaxlib", "jaxtyping", "matplotlib", "numpy", "optax", "orbax", "PIL", "safetensors", "scipy",
    "tensorflow_datasets",
)  # fmt: skip

CALLED = """
import atexit, runpy, sys
atexit.register(lambda: print("IMPORTED", *(name for name in {names} if name in sys.modules)))
sys.argv = {argv}
runpy.run_module({module!r}, run_name="__main__")
"""


def called(module: str, *arguments, names=HEAVY, **environment) -> tuple[int, str, list[str]]:
    """Status and output of `python -m MODULE`, and which of the names it had imported when it ended."""
    code = CALLED.format(names=names, argv=[module, *map(str, arguments)], module=module)
    variables = {**os.environ, "COLUMNS": "80", "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, timeout=LIMIT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    output, _, imported = done.stdout.rpartition("IMPORTED")
    return done.returncode, output, imported.split()


MANY = """
import contextlib, io, json, runpy, sys
for module, *arguments in {calls}:
    sys.argv, output, status = [module, *arguments], io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, output.getvalue(), [name for name in {names} if name in sys.modules]]))
"""


def called_together(calls) -> dict[tuple[str, ...], tuple[int, str, list[str]]]:
    """Status and output of each call of a module, and what was imported by its end: in one process, which starts once."""
    code = MANY.format(calls=[list(call) for call in calls], names=HEAVY)
    variables = {**os.environ, "COLUMNS": "80", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, timeout=LIMIT, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(calls, (tuple(json.loads(line)) for line in done.stdout.splitlines()), strict=True))


HELPED = [
    *((program.name, name) for program, name in COMMANDS),
    *((program.name,) for program in PROGRAMS),
    ("cache",),
    ("cache", "list"),
    ("cache", "clear"),
    ("demo",),
    ("completion",),
    (),
]
MODULES = ("train", "sample", "evaluate", "jaxdiff")
SHELLS = ("bash", "zsh", "fish")
WRONG = [
    ("train", "--steps", "many", "--out", "run"),
    ("train", "--process", "none", "--out", "run"),
    ("train", "--out", "run", "--learning-rate", "-1"),
    ("train", "--out", "run", "--zero-terminal-snr"),
    ("train", "--out", "run", "--phases", "1", "2"),
    ("train", "classifier", "--out", "run"),
    ("train", "other"),
    ("sample", "other"),
    ("sample", "draw", "--model", "embedded", "--out", "set", "--method", "other"),
    ("sample", "draw", "--model", "embedded", "--out", "set", "--mixing", "0.3"),
    ("sample", "search", "--model", "embedded", "--steps", "0"),
    ("evaluate", "fairness", "--attribute", "group", "--out", "report"),
    ("evaluate", "safety", "--unsafe", "glasses", "--synthetic", "set", "--out", "report"),
    ("evaluate", "likelihood", "--model", "embedded", "--out", "report"),
    ("demo", "--count", "few"),
    ("completion", "sh"),
    ("other",),
]


RANGES = {
    ("train", "diffusion", "--learning-rate", "-1", "--out", "out"): "--learning-rate must be",
    ("sample", "draw", "--model", "embedded", "--count", "0", "--out", "out"): "--count must be at least 1, got 0",
    ("evaluate", "fairness", "--attribute", "group", "--out", "out"): "--synthetic takes one or more different sets, got none",
    ("evaluate", "fairness", "--attribute", "group", "--limits.near-duplicates", "2", "--out", "out"): (
        "--limits.near-duplicates must lie in (0, 1), got 2.0"
    ),
}


def test_a_call_alone_imports_nothing_heavy():
    """Each of the others is made after another."""
    for words, ends in ((("sample", "draw", "--help"), 0), (WRONG[2], 2)):
        status, output, imported = called("jaxdiff", *words)
        assert (status, imported) == (ends, []) and output.strip()


@pytest.fixture(scope="module")
def outcomes():
    """What came of every help, of every wrong option and of every version."""
    calls = [("jaxdiff", *words, "--help") for words in HELPED] + [("jaxdiff", *words) for words in (*WRONG, *RANGES)]
    calls += [(module, "--version") for module in MODULES]
    calls += [call for program in PROGRAMS for call in ((program.name,), ("jaxdiff", program.name))]
    return called_together([*calls, *(("jaxdiff", "completion", shell) for shell in SHELLS)])


@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_help_imports_nothing_heavy(words, outcomes):
    status, output, imported = outcomes["jaxdiff", *words, "--help"]
    assert status == 0 and " ".join(("jaxdiff", *words)) in output
    assert "\n\n\n" not in output and all(len(line) <= 80 for line in output.splitlines()[1:])
    assert imported == []


def shown(program, name, monkeypatch, capsys, columns=80) -> str:
    """The help of a command, in this process."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", [f"jaxdiff {program.name}", name, "--help"])
    with pytest.raises(SystemExit):
        program.main()
    return capsys.readouterr().out


def test_the_examples_in_the_help_can_be_pasted(monkeypatch, capsys):
    """A shell joins the lines of an example to the command in the docstring."""
    found = 0
    for program, name in COMMANDS:
        about = inspect.getdoc(program.options(name)).split("\n\n")
        documented = [each.split() for each in about if each.startswith("  jaxdiff")]
        output = shown(program, name, monkeypatch, capsys).replace("\\\n", "")
        assert [line.split() for line in output.splitlines() if line.startswith("  jaxdiff")] == documented
        found += len(documented)
    assert found > 20


def test_the_help_of_an_option_is_one_paragraph(monkeypatch, capsys):
    found = 0
    for program in PROGRAMS:
        for name in program.commands:
            documented = [
                " ".join(parameter.description.split())
                for owner in filter(is_dataclass, program.options(name).__mro__)
                for parameter in docstring_parser.parse_from_object(owner).params
                if parameter.description and "\n" in parameter.description
            ]
            found += len(documented)
            output = shown(program, name, monkeypatch, capsys, columns=2000)
            assert all(text in output for text in documented)
    assert found


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_options_import_nothing_heavy(words, outcomes):
    status, output, imported = outcomes["jaxdiff", *words]
    assert status == 2 and output.strip() and "Traceback" not in output
    assert imported == []


@pytest.mark.parametrize("words", RANGES, ids=" ".join)
def test_an_option_that_is_out_of_range_is_an_error_of_one_line(words, outcomes):
    status, output, _ = outcomes["jaxdiff", *words]
    assert status == 2 and output.startswith(f"error: {RANGES[words]}") and output.count("\n") == 1


CLOSED = """
import sys
from jaxdiff._console.terminal import run
def work():
    for number in range(100_000):
        print(number)
    open(sys.argv[1], "w").write("finished")
run(work)
"""


def test_output_that_nobody_reads_neither_stops_the_work_nor_is_an_error(tmp_path):
    file = tmp_path / "file"
    call = [sys.executable, "-c", CLOSED, str(file)]
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(LIMIT) == 0
    assert file.read_text() == "finished"


@pytest.mark.parametrize("words", [(), ("sample",), ("sample", "draw"), ("demo",), ("completion",)], ids=" ".join)
def test_help_that_nobody_reads_is_no_error(words):
    read, write = os.pipe()
    os.close(read)
    call = [sys.executable, "-m", "jaxdiff", *words, "--help"]
    done = subprocess.run(call, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", MODULES)
def test_the_version_is_printed_at_once(module, outcomes):
    assert outcomes[module, "--version"] == (0, f"{jaxdiff.__version__}\n", [])


@pytest.mark.parametrize("text", [command.USAGE, *(program.help() for program in PROGRAMS)])
def test_the_help_of_a_program_fits_a_screen(text):
    lines = text.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_help_of_a_program_names_every_command_as_it_was_called(program, outcomes):
    for call, spelled in (((program.name,), f"python -m {program.name}"), (("jaxdiff", program.name), None)):
        _, output, _ = outcomes[call]
        assert f"usage: {spelled or f'jaxdiff {program.name}'} COMMAND" in output
        assert all(f"\n  {name} " in output for name in program.commands)


PREPARED = """
import sys
from jaxdiff._console import commands
def prepare(trains_series):
    print("PREPARED", trains_series, "jax" in sys.modules)
    raise SystemExit(0)
commands.prepare = prepare
sys.argv = {argv}
from {program}.__main__ import start
start()
"""


@pytest.mark.parametrize(
    "argv, trains_series",
    [
        (["train", "--out", "run"], False),
        (["train", "series", "--preset", "sines", "--out", "run"], True),
        (["sample", "draw", "--model", "embedded", "--out", "set"], False),
        (["evaluate", "likelihood", "--model", "embedded", "--out", "bits.json"], False),
    ],
)
def test_the_machine_is_set_up_after_the_options_and_before_jax(argv, trains_series):
    code = PREPARED.format(argv=argv, program=argv[0])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == f"PREPARED {trains_series} False\n"


def test_a_drawing_imports_nothing_that_it_does_not_use(save_model, tmp_path):
    model = save_model(tmp_path / "model")
    drawing = ("draw", "--model", model, "--count", "2", "--steps", "2", "--out", tmp_path / "set")
    names = ("scipy.stats", "matplotlib", "grain", "orbax", "tensorflow_datasets", "jax")
    status, output, imported = called("sample", *drawing, names=names, **QUICK)
    assert status == 0 and (tmp_path / "set" / "samples.json").exists(), output
    assert imported == ["jax"]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_commands_options_and_choices(shell, outcomes):
    status, script, _ = outcomes["jaxdiff", "completion", shell]
    assert status == 0
    assert all(word in script for word in ("evaluate", "memorization", "--learning-rate", "ddpm_scaled_linear", "--reduced"))


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash")
def test_bash_completes_a_command_and_a_choice(tmp_path, outcomes):
    """As bash does it: the words so far in COMP_WORDS, what may follow in COMPREPLY."""
    (tmp_path / "completion").write_text(outcomes["jaxdiff", "completion", "bash"][1])

    def follow(*words):
        line = " ".join(f"'{word}'" for word in words)
        code = f"source completion; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _tyro_jaxdiff; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(
            ["/bin/bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=True
        )
        return set(done.stdout.split())

    assert follow("jaxdiff", "evaluate", "l") == {"likelihood"}
    assert {"vp_cosine", "edm", "flow"} <= follow("jaxdiff", "train", "diffusion", "--process", "")


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys):
    found = command.find_spec
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "tyro" else found(name))
    monkeypatch.setattr(sys, "argv", ["jaxdiff", "sample", "draw"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: `jaxdiff sample` needs tyro: pip install 'jaxdiff[programs]'\n"
