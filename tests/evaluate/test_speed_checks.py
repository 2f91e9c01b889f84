"""Whether a machine is quiet: other processes by fakes of /proc, rates of matrix products, and what becomes of the ratios."""

import json
import os

import pytest

from evaluate import machine_load, speed, speed_checks
from evaluate.__main__ import main
from evaluate.machine_load import OthersLoad, core_seconds, processor_seconds
from evaluate.processor import processor
from evaluate.speed_checks import Check, Checks, best_rates, disturbances, judged, matrix_rates, require_quiet
from evaluate.speed_framework import start
from evaluate.timing import Benchmark, time_alternately
from evaluate.worker import Worker
from jaxdiff.errors import InputError

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A system with files as in /proc, and a clock; this process may use its cores 0 and 2, and not core 1.

    Arguments:
        folder: where the files are.
    """

    def __init__(self, folder):
        self.folder, self.now, self.used, self.own = folder, 100.0, {0: 50.0, 1: 50.0, 2: 50.0}, {7: 3.0, 8: 4.0}
        self.write()

    def write(self):
        lines = [f"cpu{core} {self._fields(used)}" for core, used in self.used.items()]
        (self.folder / "stat").write_text("\n".join(["cpu 9 9 9 9 9 9 9 9 0 0", *lines, "intr 1 2 3"]))
        for process, used in self.own.items():
            (self.folder / str(process)).mkdir(exist_ok=True)
            ticks = [round(share * used * TICKS) for share in (0.75, 0.25)]
            # children that were waited for, 99, do not count
            (self.folder / str(process) / "stat").write_text(f"{process} (a) name) S {'0 ' * 10}{ticks[0]} {ticks[1]} 99 99 20")

    def _fields(self, used):
        busy, idle = round(used * TICKS), round((self.now - used) * TICKS)
        user = busy // 2
        # the time of guests, the last two, is in that of users already
        return f"{user} {busy - user - 4} 1 {idle - 5} 5 1 1 1 77 77"

    def load(self, *own):
        return OthersLoad(own, proc=self.folder, clock=lambda: self.now)

    def pass_time(self, seconds, used, own=None):
        self.now += seconds
        for times, more in ((self.used, used), (self.own, own or {})):
            for name, share in more.items():
                times[name] += share * seconds
        self.write()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_load, "cores", lambda: (0, 2))
    return Machine(tmp_path)


def test_the_load_is_what_others_use_of_our_cores(machine):
    with machine.load(7, 8) as load:
        machine.pass_time(10.0, {0: 1.0, 1: 1.0, 2: 0.75}, {7: 0.9, 8: 0.25})
    assert load.load == pytest.approx(1.75 - 1.15, abs=0.01)


def test_times_of_several_entries_add_up_and_those_between_do_not_count(machine):
    load = machine.load(7)
    for used in (0.25, 0.75):
        with load:
            machine.pass_time(0.4, {0: used})
        machine.pass_time(5.0, {0: 1.0, 2: 1.0})
    assert load.load == pytest.approx(0.5, abs=0.03)


def test_rounding_of_ticks_is_no_negative_load(machine):
    with machine.load(7) as load:
        machine.pass_time(10.0, {0: 0.9}, {7: 0.95})
    assert load.load == 0.0


@pytest.mark.parametrize("case", ["no files", "an ended process", "no counts", "too short"])
def test_an_unknown_load_is_none(machine, case):
    with machine.load(7) as load:
        machine.pass_time(0.3 if case == "too short" else 10.0, {0: 0.5})
        if case == "no files":
            (machine.folder / "stat").unlink()
        if case == "an ended process":
            (machine.folder / "7/stat").unlink()
        if case == "no counts":
            machine.now -= 10.0
            machine.write()
            machine.now += 10.0
    assert load.load is None
    assert not disturbances([Check("now", load.load)], {})


def test_fields_of_proc_are_read_as_proc_5_has_them():
    """Waiting for a disk and interrupts are no process; guests are in user and nice already; children's are in other fields."""
    stat = "cpu 5 5 5 5 5 5 5 5 5 5\ncpu0 100 200 300 4000 500 6 7 8 90 10\ncpu10 1 1 1 1 1 1 1 1 1 1\nctxt 3\n"
    assert core_seconds(stat, {0}) == (608 / TICKS, 4513 / TICKS)
    assert core_seconds(stat, {0, 10}) == (612 / TICKS, 4517 / TICKS)
    stat = "7 (a) name) S 1 7 7 0 -1 4194560 99 98 97 96 1000 200 3000 4000 20 0 1 0 5 6 7"
    assert processor_seconds(stat) == 1200 / TICKS


def test_this_system_counts_what_a_process_computes():
    """The counts of /proc are those of the process itself."""
    if not (machine_load.PROC / "stat").exists():
        pytest.skip("this system has no /proc/stat")
    text = (machine_load.PROC / "stat").read_text()
    busy, idle = core_seconds(text, machine_load.cores())
    assert busy > 0 and busy + idle > 0
    used = os.times()
    assert processor_seconds((machine_load.PROC / "self/stat").read_text()) == pytest.approx(used.user + used.system, abs=0.1)


RATES = {"float32": {"jaxdiff": [1.0, 0.9, 0.95], "PyTorch": [2.0, 1.9, 1.8]}}


def with_pytorch(*rates):
    return {"float32": {"jaxdiff": [1.0, 1.0, 1.0], "PyTorch": list(rates)}}


@pytest.mark.parametrize(
    "checks, found",
    [
        ([Check("before", 0.19, RATES), Check("after", None, RATES)], []),
        ([Check("before", 0.21, RATES)], ["before, other processes used 0.21 cores, more than 0.2"]),
        # a slow round of several is no disturbance
        ([Check("before", 0.0, RATES), Check("after", 0.0, with_pytorch(2.0, 0.1, 1.7))], []),
        # one framework may multiply faster than the other; each is compared with its own best
        ([Check("before", 0.0, with_pytorch(100.0, 99.0))], []),
        (
            [Check("before", 0.0, RATES), Check("after", 0.0, with_pytorch(1.0, 1.5, 1.9))],
            ["after, PyTorch multiplied float32 matrices at 0.75 of its best rate in this run, less than 0.8"],
        ),
        (
            [Check("before", 0.0, with_pytorch(0.2, 0.2, 0.2)), Check("after", 0.0, RATES)],
            ["before, PyTorch multiplied float32 matrices at 0.10 of its best rate in this run, less than 0.8"],
        ),
    ],
)
def test_disturbances(checks, found):
    assert disturbances(checks, best_rates(checks)) == found
    require_quiet(checks, busy=True)
    if found:
        with pytest.raises(InputError, match=f"the machine is busy.*{found[0]}.*--busy"):
            require_quiet(checks, busy=False)
    else:
        require_quiet(checks, busy=False)


def test_the_best_rate_is_of_any_round_of_any_check():
    slow = {"float32": {"jaxdiff": [0.5, 3.0]}, "bfloat16": {"jaxdiff": [4.0, 5.0]}}
    best = best_rates([Check("before", None, RATES), Check("after", None, slow)])
    assert best == {"float32": {"jaxdiff": 3.0, "PyTorch": 2.0}, "bfloat16": {"jaxdiff": 5.0}}
    assert Check("after", 0.5, slow).json() == {
        "when": "after", "load": 0.5, "rates": {"float32": {"jaxdiff": 1.75}, "bfloat16": {"jaxdiff": 4.5}},
    }  # fmt: skip


def test_timings_are_judged_by_the_checks_before_during_and_after(monkeypatch):
    idle = iter([0.0, 0.5, 0.0])
    monkeypatch.setattr(speed_checks, "idle_load", lambda own: next(idle))
    checks = Checks(lambda dtype: RATES[dtype], [7])
    checks.idle("before", ["float32"])
    first = checks.after("sampling", checks.load(), ["float32"])
    second = checks.after("training", checks.load(), ["float32"])
    assert [check.when for check in first] == ["before", "during sampling", "after sampling"]
    assert [check.when for check in second] == ["after sampling", "during training", "after training"]
    best = best_rates(checks.made)
    # both stand beside the moment when the machine was busy
    assert [disturbances(judge, best) for judge in (first, second)] == [
        ["after sampling, other processes used 0.50 cores, more than 0.2"]
    ] * 2
    assert not disturbances(checks.made[3:], best)


def test_busy_leaves_out_ratios_of_a_quiet_machine_too():
    comparison = {"task": "sampling", "variants": [{"ratio": 2, "share_of_matrix_rate": 1, "round_seconds": [1.0]}]}
    assert judged(comparison, [], busy=False) == {**comparison, "disturbances": []}
    marked = judged(comparison, [], busy=True)
    assert marked["variants"] == [{"round_seconds": [1.0]}] and marked["disturbances"] == ["--busy was given"]


def test_the_load_is_measured_around_each_timed_run_alone():
    log = []

    class Around:
        def __enter__(self):
            log.append("in")

        def __exit__(self, *_):
            log.append("out")

    def prepare(seconds):
        log.append("prepared")
        return lambda index: log.append(index)

    time_alternately([Benchmark("jaxdiff", "jit", prepare)], 2, around=Around())
    assert log == ["prepared", "in", 1, "out", "in", 2, "out"]


def test_matrix_rates_are_of_each_round():
    rates = matrix_rates([Benchmark("jaxdiff", "", lambda seconds: lambda index: float(10**index))], 1e3)
    assert rates["jaxdiff"] == pytest.approx([1e3 / 10**index for index in range(1, speed_checks.ROUNDS + 1)], rel=0.01)

    def failing(seconds):
        raise MemoryError("none left")

    with pytest.raises(InputError, match="products of PyTorch.*none left"):
        matrix_rates([Benchmark("PyTorch", "", failing)], 1e3)


def test_a_busy_machine_is_refused_before_anything_is_built(call_program, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "idle_load", lambda own: 0.87)
    monkeypatch.setattr(speed, "Worker", None)
    assert call_program(main, "evaluate", "speed", "--out", "speed") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "before the start, other processes used 0.87 cores, more than 0.2" in told and "--busy" in told
    assert not list(tmp_path.glob("speed/*"))


CPUINFO = "processor\t: 0\nmodel name\t: A processor @ 2 GHz\nflags\t\t: fpu sse2{}\n\nprocessor\t: 1\nmodel name\t: another\n"


@pytest.mark.parametrize(
    "flags, vectors", [(" avx2 avx512f", "AVX-512"), (" avx avx2", "AVX2"), (" avx", "neither AVX2 nor AVX-512")]
)
def test_the_processor_has_its_model_and_widest_vectors(tmp_path, flags, vectors):
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags))
    assert processor(tmp_path / "cpuinfo", "x86_64") == {"model": "A processor @ 2 GHz", "vectors": vectors}
    assert processor(tmp_path / "cpuinfo", "aarch64")["vectors"] is None


def test_without_its_file_the_processor_has_a_name(tmp_path):
    found = processor(tmp_path / "cpuinfo", "arm64")
    assert found["model"] and found["vectors"] is None


class Pool:
    """A process of JAX alone, prepared as those of the frameworks."""

    def __init__(self):
        start()

    def threads(self):
        import jax

        jax.devices()
        from evaluate.speed_jaxdiff import Jaxdiff

        return Jaxdiff.threads(object.__new__(Jaxdiff))


def test_jax_has_a_thread_for_each_core_whatever_the_environment_says(monkeypatch):
    if not (machine_load.PROC / "self/task").exists():
        pytest.skip("this system does not list threads")
    monkeypatch.setenv("PJRT_NPROC", str(len(machine_load.cores()) + 3))
    with Worker(Pool) as pool:
        assert pool.call("threads") == len(machine_load.cores())


SMALL = ["evaluate", "speed", "--rounds", "1", "--modes", "eager", "--no-compare-runs", "--tasks", "sampling", "job"]


@pytest.fixture
def run_speed(monkeypatch, call_program, capsys, tmp_path):
    """Runs the program with frameworks that compute nothing, these loads while idle, and these rates of PyTorch."""
    # not above: it starts JAX, which the process of `Pool` must not find started
    from tests.test_faults_of_long_programs import Framework

    monkeypatch.setattr(speed, "Worker", Framework)
    monkeypatch.setattr(speed.plots, "speed", lambda *_: None)

    def run(loads, rates, *more):
        loads, rates = iter(loads), iter(rates)
        monkeypatch.setattr(speed, "idle_load", lambda own: next(loads))
        monkeypatch.setattr(speed_checks, "idle_load", lambda own: next(loads))
        monkeypatch.setattr(speed, "_matrix_rates", lambda *_: {"jaxdiff": [1.0], "PyTorch": next(rates)})
        status = call_program(main, *SMALL, *more, "--out", "speed")
        files = {file.name: file.read_text() for file in tmp_path.glob("speed/*")}
        told = capsys.readouterr()
        report = json.loads(files["speed.json"]) if status == 0 else {"comparisons": []}
        ratios = ["ratio" in each["variants"][0] for each in report["comparisons"]]
        return status, ratios, " ".join((told.out + told.err).split()), files.get("speed.md", "")

    return run


def test_a_quiet_run_has_ratios(run_speed):
    status, ratios, told, text = run_speed([0.0] * 4, [[1.0]] * 3)
    assert (status, ratios) == (0, [True, True]) and told.count("times faster") == 2 and "not valid" not in told + text


def test_a_disturbance_in_the_run_takes_the_ratios_of_what_it_disturbed(run_speed):
    status, ratios, told, text = run_speed([0.0, 0.0, 0.0, 0.9], [[1.0]] * 3)
    assert (status, ratios) == (0, [True, False]) and told.count("times faster") == text.count("times faster") == 1
    for shown in (told, text):
        assert "Ratios are not valid on a busy machine, and left out: job, float32." in shown
        assert "after job, float32, other processes used 0.90 cores" in shown


def test_a_better_rate_later_takes_ratios_that_were_printed(run_speed):
    status, ratios, told, text = run_speed([0.0] * 4, [[1.0], [1.0], [4.0]])
    assert (status, ratios) == (0, [False, False]) and "times faster" not in text
    for shown in (told, text):
        assert "left out: sampling, float32; job, float32." in shown
        assert "before the runs, PyTorch multiplied float32 matrices at 0.25" in shown or shown is told


def test_rates_that_vary_before_the_runs_are_refused(run_speed):
    rates = [[1.0, 0.1, 0.2], [1.0], [1.0]]
    status, _, told, _ = run_speed([0.0] * 4, rates)
    assert status == 2 and "before the runs, PyTorch multiplied float32 matrices at 0.20" in told and "times faster" not in told
    status, ratios, told, _ = run_speed([0.0] * 4, rates, "--busy")
    assert (status, ratios) == (0, [False, False]) and "--busy was given" in told and "times faster" not in told
