"""Help and option errors import nothing heavy and fit a screen, and the machine is set up before JAX is imported."""

import inspect
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
from tests.processes import LIMIT

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


@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_help_imports_nothing_heavy(words):
    status, output, imported = called("jaxdiff", *words, "--help")
    assert status == 0 and " ".join(("jaxdiff", *words)) in output
    assert "\n\n\n" not in output and all(len(line) <= 80 for line in output.splitlines()[1:])
    assert imported == []


def test_the_examples_in_the_help_can_be_pasted():
    """A shell joins the lines of an example to the command in the docstring."""
    found = 0
    for program, name in COMMANDS:
        about = inspect.getdoc(program.options(name)).split("\n\n")
        documented = [each.split() for each in about if each.startswith("  jaxdiff")]
        output = called(program.name, name, "--help")[1].replace("\\\n", "")
        assert [line.split() for line in output.splitlines() if line.startswith("  jaxdiff")] == documented
        found += len(documented)
    assert found > 20


def test_the_help_of_an_option_is_one_paragraph():
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
            output = called(program.name, name, "--help", COLUMNS="2000")[1]
            assert all(text in output for text in documented)
    assert found


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


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_options_import_nothing_heavy(words):
    status, output, imported = called("jaxdiff", *words)
    assert status == 2 and output.strip() and "Traceback" not in output
    assert imported == []


@pytest.mark.parametrize("program, name, arguments, message", [
    ("train", "diffusion", ("--learning-rate", "-1"), "--learning-rate must be"),
    ("sample", "draw", ("--model", "embedded", "--count", "0"), "--count must be at least 1, got 0"),
    ("evaluate", "fairness", ("--attribute", "group"), "--synthetic takes one or more sets, got none"),
    ("evaluate", "fairness", ("--attribute", "group", "--limits.near-duplicates", "2"),
     "--limits.near-duplicates must lie in (0, 1), got 2.0"),
])  # fmt: skip
def test_an_option_that_is_out_of_range_is_an_error_of_one_line(program, name, arguments, message):
    status, output, _ = called("jaxdiff", program, name, *arguments, "--out", "out")
    assert status == 2 and output.startswith(f"error: {message}") and output.count("\n") == 1


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


@pytest.mark.parametrize("program", ("train", "sample", "evaluate", "jaxdiff"))
def test_the_version_is_printed_at_once(program):
    assert called(program, "--version") == (0, f"{jaxdiff.__version__}\n", [])


@pytest.mark.parametrize("text", [command.USAGE, *(program.help() for program in PROGRAMS)])
def test_the_help_of_a_program_fits_a_screen(text):
    lines = text.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_help_of_a_program_names_every_command_as_it_was_called(program):
    for module, words, spelled in ((program.name, (), f"python -m {program.name}"), ("jaxdiff", (program.name,), None)):
        _, output, _ = called(module, *words)
        assert f"usage: {spelled or f'jaxdiff {program.name}'} COMMAND" in output
        assert all(f"\n  {name} " in output for name in program.commands)


PREPARED = """
import sys
from jaxdiff._console import commands
def prepare(training):
    print("PREPARED", training, "jax" in sys.modules)
    raise SystemExit(0)
commands.prepare = prepare
sys.argv = {argv}
from {program}.__main__ import start
start()
"""


@pytest.mark.parametrize(
    "argv, training",
    [
        (["train", "--out", "run"], True),
        (["train", "classifier", "--out", "run", "--attribute", "group"], True),
        (["sample", "draw", "--model", "embedded", "--out", "set"], False),
        (["evaluate", "likelihood", "--model", "embedded", "--out", "bits.json"], False),
    ],
)
def test_the_machine_is_set_up_after_the_options_and_before_jax(argv, training):
    code = PREPARED.format(argv=argv, program=argv[0])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == f"PREPARED {training} False\n"


def test_a_drawing_imports_nothing_that_it_does_not_use(save_model, tmp_path):
    model = save_model(tmp_path / "model")
    drawing = ("draw", "--model", model, "--count", "2", "--steps", "2", "--out", tmp_path / "set")
    names = ("scipy.stats", "matplotlib", "grain", "orbax", "tensorflow_datasets", "jax")
    status, output, imported = called("sample", *drawing, names=names)
    assert status == 0 and (tmp_path / "set" / "samples.json").exists(), output
    assert imported == ["jax"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_and_choices(shell):
    status, script, _ = called("jaxdiff", "completion", shell)
    assert status == 0
    assert all(word in script for word in ("evaluate", "memorization", "--learning-rate", "ddpm_scaled_linear", "--reduced"))


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash")
def test_bash_completes_a_command_and_a_choice(tmp_path):
    """As bash does it: the words so far in COMP_WORDS, what may follow in COMPREPLY."""
    (tmp_path / "completion").write_text(called("jaxdiff", "completion", "bash")[1])

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
