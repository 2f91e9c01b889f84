"""`jaxdiff evaluate speed`: counts of operations against closed forms, alternating timing, and the report."""

import json
import math
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evaluate import speed_pytorch, speed_report
from evaluate.__main__ import main
from evaluate.process_memory import ProcessMemory
from evaluate.pytorch_methods import switched
from evaluate.speed import _agreeing, _benchmark, _device, _pinning, _Processes
from evaluate.speed_checks import judged
from evaluate.speed_comparisons import Comparison
from evaluate.speed_framework import Variant
from evaluate.speed_text_workload import PIPELINES
from evaluate.speed_workload import NETWORKS, Workload
from evaluate.timing import MIN_ROUNDS, Benchmark, Timing, best, ratio, summary, time_alternately, time_limit
from evaluate.worker import Worker
from evaluate.writing import finite
from jaxdiff import guidance
from jaxdiff._console import plots
from jaxdiff._console.flops import matrix_flops
from jaxdiff._console.terminal import console, significant
from jaxdiff.errors import InputError
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.process import ddpm


def ones(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def convolved(x, kernel, padding="SAME", groups=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=numbers, feature_group_count=groups)


def test_matrix_product_is_two_operations_per_multiply_add():
    assert matrix_flops(jnp.matmul, ones(3, 5), ones(5, 7)) == 2 * 3 * 5 * 7
    assert matrix_flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), ones(4, 3, 5), ones(4, 5, 7)) == 4 * 2 * 3 * 5 * 7


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_counts_every_tap_of_every_output(groups):
    images, kernel = ones(2, 8, 6, 4), ones(3, 3, 4 // groups, 10)
    assert matrix_flops(lambda x, k: convolved(x, k, groups=groups), images, kernel) == 2 * (2 * 8 * 6 * 10) * (9 * 4 // groups)


def test_loops_count_all_iterations_and_conditionals_the_most_expensive_branch():
    step = lambda x: jnp.sin(x @ x)  # noqa: E731
    one = 2 * 4**3
    assert matrix_flops(lambda x: jax.lax.scan(lambda c, _: (step(c), None), x, length=7)[0], ones(4, 4)) == 7 * one
    assert matrix_flops(lambda x: jax.lax.cond(x.sum() > 0, step, lambda x: step(step(x)), x), ones(4, 4)) == 2 * one
    assert matrix_flops(jax.jit(lambda x: jax.checkpoint(step)(x) @ x), ones(4, 4)) == 2 * one


def test_backward_pass_costs_two_products_for_one():
    loss = lambda w, x: jnp.tanh(x @ w).sum()  # noqa: E731
    assert matrix_flops(jax.grad(loss, argnums=(0, 1)), ones(5, 7), ones(3, 5)) == 3 * (2 * 3 * 5 * 7)


def test_count_agrees_with_xla_for_matrix_operations():
    def function(x, kernel, w):
        return convolved(x, kernel, "VALID").reshape(2, -1) @ w

    arguments = ones(2, 8, 8, 4), ones(3, 3, 4, 16), ones(6 * 6 * 16, 10)
    counted = jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]
    assert matrix_flops(function, *arguments) == counted


def network_flops(config, doubling=Fraction(1)) -> int:
    """A UNet's operations for an image, counted block by block, by hand.

    Arguments:
        doubling: the fraction of products that remain in a convolution of repeated pixels.
    """
    wide = 4 * config.base
    embedded = [(config.base, wide), (wide, wide), (config.values[0] + 1, wide)]
    total = sum(2 * a * b for a, b in embedded)
    convolution = lambda size, inputs, outputs, kernel=3: 2 * size**2 * kernel**2 * inputs * outputs  # noqa: E731

    def block(size, inputs, outputs, attends, share=1):
        cost = share * convolution(size, inputs, outputs) + convolution(size, outputs, outputs)
        cost += 2 * wide * 2 * outputs
        cost += convolution(size, inputs, outputs, 1) if inputs != outputs else 0
        pixels = size**2
        return cost + attends * (convolution(size, outputs, 4 * outputs, 1) + 2 * 2 * pixels**2 * outputs)

    size, width, skips = config.size, config.base, [config.base]
    total += convolution(size, config.channels, width)
    last = len(config.multipliers) - 1
    for level, multiplier in enumerate(config.multipliers):
        for _ in range(config.blocks):
            total += block(size, width, config.base * multiplier, size in config.attention)
            width = config.base * multiplier
            skips.append(width)
        if level < last:
            size //= 2
            total += block(size, width, width, False)
            skips.append(width)
    total += block(size, width, width, True) + block(size, width, width, False)
    for level in range(last, -1, -1):
        for _ in range(config.blocks + 1):
            total += block(size, width + skips.pop(), config.base * config.multipliers[level], size in config.attention)
            width = config.base * config.multipliers[level]
        if level:
            size *= 2
            total += block(size, width, width, False, doubling)
    return total + convolution(size, width, config.channels)


SIZES = {
    "batch": 2, "steps": 5, "train_batch": 2, "train_steps": 1, "search_batch": 2, "authors_batch": 2, "authors_steps": 20,
    "count": 5, "seed": 0,
}  # fmt: skip


def workload(network="rehearsal", **changed) -> Workload:
    return Workload(NETWORKS[network], **{**SIZES, **changed})


@pytest.mark.parametrize("network", [pytest.param("rehearsal", marks=pytest.mark.slow), "small"])
def test_network_costs_the_sum_of_its_blocks(network):
    assert workload(network).pass_flops == network_flops(NETWORKS[network], Fraction(4, 9))


def test_no_layer_is_zero_and_both_dtypes_share_the_weights():
    given = workload()
    named = jax.tree_util.tree_leaves_with_path(given.network.weights)
    assert all(np.asarray(leaf).any() for path, leaf in named if "kernel" in jax.tree_util.keystr(path))
    arguments = ones(1, *given.shape), ones(1), ones(1, dtype=jnp.int32)
    for dtype, computed in (("float32", "f32"), ("bfloat16", "bf16")):
        network = given.in_dtype(dtype)
        assert all(
            ours is shared for ours, shared in zip(jax.tree.leaves(network), jax.tree.leaves(given.network), strict=True)
        )
        products = [line for line in str(jax.make_jaxpr(network)(*arguments)).splitlines() if "conv_general_dilated" in line]
        assert products and all(f":{computed}[" in line for line in products)


def benchmark(name, log, *, framework="jaxdiff", fails=None, skipped_seconds=None, **more):
    def prepare(seconds):
        log.append(("prepare", name))
        if fails:
            raise fails
        return lambda index: log.append((index, name)) or skipped_seconds

    return Benchmark(framework, name, prepare, **more)


def test_baseline_switches_labels_as_the_library_does():
    process, tau = ddpm("cosine"), 0.6
    labels = switched("starts", "ends", tau, process.timesteps)
    # timestep i is the time (i + 1) / T, and the ends are in force at tau itself
    guided = guidance.switching(lambda x, t, condition: condition, tau)
    for timestep in (0, 598, 599, 600, 999):
        t = np.float32((timestep + 1) / process.timesteps)
        end = bool(guided(jnp.zeros(1), t, (jnp.zeros(1), jnp.ones(1)))[0])
        assert labels(timestep) == ("ends" if end else "starts")
    assert [labels(timestep) for timestep in (599, 600)] == ["ends", "starts"]


def test_benchmarks_run_in_alternation_after_all_are_prepared():
    log, ticks = [], count()
    results = time_alternately([benchmark("a", log), benchmark("b", log)], 2, clock=lambda: next(ticks))
    assert log == [("prepare", "a"), ("prepare", "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b")]
    # the clock advances by one at each call, so by one between the calls around a run
    assert [result.seconds for result in results] == [[1, 1], [1, 1]]
    assert [result.warm_up for result in results] == [1, 1]


def test_groups_are_prepared_concurrently_and_run_in_order():
    log, met = [], threading.Barrier(2, timeout=30)

    def meeting(name):
        def prepare(seconds):
            met.wait()  # times out unless the other group is prepared at the same time
            log.append(name)
            return lambda index: log.append((index, name))

        return prepare

    results = time_alternately([Benchmark("of", name, meeting(name), group=name[0]) for name in ("b1", "a1", "b2", "a2")], 1)
    assert not [result.failure for result in results if result.failure]
    prepared, ran = log[:4], log[4:]
    assert [name for name in prepared if name[0] == "a"] == ["a1", "a2"]
    assert [name for name in prepared if name[0] == "b"] == ["b1", "b2"]
    assert ran == [(1, "b1"), (1, "a1"), (1, "b2"), (1, "a2")]


def test_interrupt_does_not_wait_for_another_group():
    begins, compiled = threading.Event(), threading.Event()

    def interrupted(seconds):
        assert begins.wait(20)
        raise KeyboardInterrupt

    def compiling(seconds):
        begins.set()
        compiled.wait(30)
        return lambda index: None

    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        time_alternately([Benchmark("a", "a", interrupted, group=1), Benchmark("b", "b", compiling, group=2)], 1)
    assert time.perf_counter() - begun < 20
    compiled.set()


def test_failure_in_a_group_does_not_affect_the_others():
    log = []
    failing = benchmark("a", log, fails=ValueError("no such kernel"), group=1)
    first, second = time_alternately([failing, benchmark("b", log, group=2)], 3)
    assert first.failure == "ValueError: no such kernel" and len(second.seconds) == 3


def test_skipped_seconds_are_added():
    ticks = count()
    (result,) = time_alternately([benchmark("a", [], skipped_seconds=10.0)], 3, clock=lambda: next(ticks))
    assert result.seconds == [11, 11, 11] and result.warm_up == 1


def test_failure_is_reported_and_the_others_go_on():
    log = []
    failing = benchmark("a", log, fails=ValueError("no such kernel\nof a long trace"))
    first, second = time_alternately([failing, benchmark("b", log)], 3)
    assert first.failure == "ValueError: no such kernel" and first.seconds == [] and first.warm_up is None
    assert len(second.seconds) == 3 and second.failure is None


def test_time_limit_ends_preparation():
    def prepare(seconds):
        with time_limit(seconds):
            time.sleep(20)

    begun = time.perf_counter()
    (result,) = time_alternately([Benchmark("PyTorch", "compile", prepare, limit=0.2)], 3)
    assert result.failure == "TimeoutError: not ready within 0 s" and time.perf_counter() - begun < 10


@pytest.mark.parametrize("limit, given", [(100.0, 7.0), (5.0, 5.0), (math.inf, math.inf)])
def test_time_limit_is_the_shorter_of_limit_and_deadline(limit, given):
    limits = []
    prepare = lambda seconds: limits.append(seconds) or (lambda index: None)  # noqa: E731
    time_alternately([Benchmark("PyTorch", "compile", prepare, limit=limit)], 1, deadline=10.0, clock=lambda: 3.0)
    assert limits == [given]


def test_after_the_deadline_only_prepared_benchmarks_are_timed():
    log, ticks = [], count()
    first, second = time_alternately([benchmark("a", log), benchmark("b", log)], 50, deadline=2, clock=lambda: next(ticks))
    assert len(first.seconds) == MIN_ROUNDS
    assert second.seconds == [] and "budget" in second.failure


def test_memory_is_measured_in_the_first_round():
    held = iter([5, 7])
    log = []
    (result,) = time_alternately([benchmark("a", log, memory=lambda: next(held), reset_memory=lambda: log.append("reset"))], 2)
    assert result.memory == 5 and log == [("prepare", "a"), "reset", (1, "a"), (2, "a")]


def test_peak_memory_of_the_process_includes_freed_memory():
    memory, size = ProcessMemory(), 200 * 2**20
    memory.reset()
    block = np.ones(size, np.uint8)
    del block
    held = memory()
    if held is None:
        pytest.skip("this system does not report peak memory")
    assert 0.9 * size < held < 1.5 * size
    memory.reset()
    assert memory() < 0.5 * size


def test_summary_and_ratio_by_round():
    assert summary([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3.0, "low": 2.0, "high": 4.0, "count": 5}
    # a slow round is slow for both
    assert ratio([1.0, 10.0, 2.0], [0.5, 5.0, 1.0]) == {"median": 2.0, "low": 2.0, "high": 2.0, "count": 3}
    assert ratio([1.0, 1.0, 1.0], [1.0, 2.0]) == {"median": 0.75, "low": 0.625, "high": 0.875, "count": 2}


def timed(framework, mode, seconds, **more) -> Timing:
    return Timing(Benchmark(framework, mode, lambda: None), 1.5 if seconds else None, seconds, **more)


RESULTS = [
    timed("jaxdiff", "jit", [1.0, 1.0, 1.0], memory=2**30),
    timed("PyTorch", "eager", [4.0, 4.0, 4.0]),
    timed("PyTorch", "compile", [2.0, 2.0, 3.0]),
    timed("PyTorch", "max_autotune", [], failure="TimeoutError: [not] ready"),
]


def test_baseline_is_the_fastest_mode_of_pytorch():
    assert best(RESULTS, "PyTorch") is RESULTS[2] and best(RESULTS[3:], "PyTorch") is None


def refused(*_):
    raise InputError("PyTorch is missing")


def comparison_of(images=10, ours=6 * 10**9, theirs=12 * 10**9, results=RESULTS):
    flops = {"jaxdiff": ours, "PyTorch": theirs}
    return speed_report.comparison_json(Comparison("sampling", "float32", ()), results, 12e9, images, flops)


def judged_of(found=(), **more):
    return judged(comparison_of(**more), found, False)


MACHINE = "AMD EPYC (AVX2), 2 cores; jax 0.10.2, jaxlib 0.10.2, torch 2.13.0+cpu, diffusers 0.42.1"


def test_comparison_has_speed_ratio_and_share():
    comparison = comparison_of()
    ours, eager, compiled, failed = comparison["variants"]
    assert comparison["baseline"] == "PyTorch, compile"
    assert ours["images_per_second"] == 10 and ours["ratio"]["median"] == 2 and ours["ratio"]["high"] == 2.5
    assert ours["share_of_matrix_rate"] == 0.5 and eager["share_of_matrix_rate"] == 0.25
    assert compiled["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0, "count": 3} and eager["ratio"]["median"] == 0.5
    assert failed["failure"] and "seconds" not in failed
    json.dumps(finite(comparison), allow_nan=False)


def test_without_pytorch_the_first_variant_is_the_baseline():
    assert comparison_of(results=RESULTS[:1] + RESULTS[3:])["baseline"] == "jaxdiff, jit"
    assert comparison_of(results=RESULTS[3:])["baseline"] is None


def test_comparison_is_printed_in_80_columns_with_failures(monkeypatch):
    monkeypatch.setattr(console, "width", 80)
    with console.capture() as captured:
        speed_report.show(judged_of(), MACHINE, console)
        speed_report.show(judged_of(images=None, ours=None, theirs=None), MACHINE, console)
        speed_report.show_start(report_of(), console)
    shown = captured.get()
    assert " ".join(shown.split()).count(MACHINE) == 3
    assert max(map(len, shown.splitlines())) <= 80
    assert "2.00 [2.00, 2.50]  50  1.00" in shown and "max_autotune: TimeoutError: [not] ready" in shown


def report_of(*comparisons, device="cpu"):
    """A report of comparisons."""
    return {
        "network": {"name": "small"}, "command": ["jaxdiff", "evaluate", "speed"], "device": device, "comparisons": comparisons,
        "machine": "1 x a card", "agreement": {"pass": 1e-6}, "matrix_rate": {"float32": {"jaxdiff": 2e12, "PyTorch": 1e12}},
        "processor": {"model": "AMD EPYC", "vectors": "AVX2", "cores": [0, 1], "threads": {}},
        "versions": {"torch": "2.13.0+cpu", "diffusers": "0.42.1", "jax": "0.10.2", "jaxlib": "0.10.2", "numpy": "2"},
    }  # fmt: skip


def test_the_machine_has_its_processor_its_device_and_the_versions():
    assert speed_report.machine(report_of()) == MACHINE
    assert speed_report.machine(report_of(device="cuda")) == MACHINE.replace("cores;", "cores, 1 x a card;")


def test_a_disturbed_comparison_has_no_ratio_anywhere(tmp_path, monkeypatch):
    """The ratio of RESULTS is 2.00, and its shares of the rate 50 and 25 %."""
    reason = "during it, other processes used 0.87 cores"
    disturbed, quiet = judged_of([reason]), judged_of()
    with console.capture() as captured:
        speed_report.show(disturbed, MACHINE, console)
        speed_report.show_verdict(report_of(disturbed), console)
    for text in (captured.get(), speed_report.markdown_report(report_of(disturbed))):
        words = " ".join(text.split())
        assert "2.00" not in text and "[" not in text.replace("[not] ready", "") and "faster" not in text and "%" not in text
        assert "ratios are not valid" in words and reason in words and "Ratios are not valid" in words
    keys = {key for row in disturbed["variants"] for key in row}
    assert not keys & {"ratio", "share_of_matrix_rate"} and disturbed["disturbances"] == [reason]
    assert disturbed["variants"][0]["seconds"] == quiet["variants"][0]["seconds"]
    shown = []
    monkeypatch.setattr(plots, "figure", remembered(plots.figure, shown))
    plots.speed(tmp_path / "speed.png", [disturbed, quiet], "title")
    (first, second) = shown[0][:, 0]
    assert [bar.get_width() for bar in first.patches] == [1, 4, 2] and "not valid" in first.get_title(loc="left")
    assert [bar.get_width() for bar in second.patches] == [2, 0.5, 1] and "speed-up" in second.get_title(loc="left")


def remembered(figure, shown):
    """`figure`, which puts the axes that it yields into `shown`."""

    @contextmanager
    def remembering(*arguments, **options):
        with figure(*arguments, **options) as (made, axes):
            shown.append(axes)
            yield made, axes

    return remembering


def test_the_report_in_markdown_has_ratios_of_a_quiet_machine():
    text = speed_report.markdown_report(report_of(judged_of()))
    assert "| jaxdiff, jit | 1.5 | 1 | 10 | 2.00 [2.00, 2.50] | 50 | 1.00 |" in text and MACHINE in text
    assert "not valid" not in text and "autotune: TimeoutError: [not] ready" in text


@pytest.mark.parametrize("value, shown", [(1371.6, "1,372"), (999.6, "1,000"), (999.4, "999"), (0.04661, "0.0466"), (2.0, "2")])
def test_numbers_have_three_digits_and_no_exponent(value, shown):
    assert significant(value) == shown


def test_plot_of_timed_variants(tmp_path):
    plots.speed(tmp_path / "speed.png", [judged_of(), judged_of(results=RESULTS[3:])], "title")
    plots.speed(tmp_path / "none.png", [], "title")
    assert (tmp_path / "speed.png").stat().st_size > (tmp_path / "none.png").stat().st_size > 0


def test_different_outputs_are_an_error():
    ours = np.array([3.0, 4.0])
    assert _agreeing("pass", ours, ours + [0, 0.05], 0.02) == pytest.approx(0.01)
    for theirs in (ours + [0, 0.2], ours * math.nan):
        with pytest.raises(InputError, match="relative error of"):
            _agreeing("pass", ours, theirs, 0.02)


def test_device_is_one_that_both_frameworks_find():
    assert _device("auto", True, True) == _device("gpu", True, True) == "cuda"
    assert _device("auto", False, True) == _device("auto", True, False) == _device("cpu", True, True) == "cpu"
    with pytest.raises(InputError, match="both frameworks find; JAX finds a GPU, PyTorch none"):
        _device("gpu", pytorch_sees=False, jax_sees=True)
    with pytest.raises(InputError, match="both frameworks find; JAX finds none, PyTorch a GPU"):
        _device("gpu", pytorch_sees=True, jax_sees=False)


def test_modes_and_training_have_own_processes_which_are_groups_on_a_gpu():
    jaxdiff, trainer, one, two = (object.__new__(Worker) for _ in range(4))
    named = (
        ("jaxdiff", "sampling", ""),
        ("jaxdiff", "training", ""),
        ("PyTorch", "training", "eager"),
        ("PyTorch", "job", "compile"),
    )
    variants = [Variant(framework, "name", task, "float32", mode) for framework, task, mode in named]
    separate = _Processes(jaxdiff, trainer, {"eager": one, "compile": two}, concurrent=True)
    assert [separate.of(variant) for variant in variants] == [jaxdiff, trainer, one, two] and separate.pytorch == [one, two]
    assert [_benchmark(separate, variant, 9.0).group for variant in variants] == [jaxdiff, trainer, one, two]
    shared = _Processes(jaxdiff, trainer, {"eager": one, "compile": one}, concurrent=False)
    assert [shared.of(variant) for variant in variants[2:]] == [one, one] and shared.pytorch == [one]
    assert {_benchmark(shared, variant, 9.0).group for variant in variants} == {None}
    # compilation by XLA cannot be interrupted
    assert [_benchmark(separate, variant, 9.0).limit for variant in variants] == [math.inf, math.inf, 9.0, 9.0]


class Pinned:
    """In place of a worker: its cores and threads."""

    def __init__(self, cores, threads):
        self.given = {"cores": cores, "threads": threads}

    def call(self, method):
        return self.given


def test_both_frameworks_must_use_the_same_cores_and_threads():
    def pinning(ours, theirs, device="cpu"):
        ours = Pinned(*ours)
        return _pinning(_Processes(ours, ours, {"eager": Pinned(*theirs)}, concurrent=False), device)

    assert pinning(([0, 1], 2), ([0, 1], 2)) == {"jaxdiff": 2, "PyTorch": 2}
    assert pinning(([0, 1], None), ([0, 1], 2)) == {"jaxdiff": None, "PyTorch": 2}
    # on a GPU nothing computes with these threads
    assert pinning(([0, 1], 2), ([0, 1], 1), "cuda") == {"jaxdiff": 2, "PyTorch": 1}
    for theirs in (([0, 1], 1), ([0], 2)):
        with pytest.raises(InputError, match=r"jaxdiff has cores \[0, 1\] and 2 threads; PyTorch has cores"):
            pinning(([0, 1], 2), theirs)


@pytest.mark.parametrize(
    "option, value, named",
    [
        ("--steps", "7", "must divide 1000"),
        ("--rounds", "0", "--rounds must be at least 1"),
        ("--budget", "0", "--budget must be above 0"),
        ("--authors-steps", "9", "--authors-steps must lie in"),
        ("--seed", "-1", "--seed must be at least 0"),
    ],
)
def test_options_out_of_range_are_errors(call_program, capsys, option, value, named):
    assert call_program(main, "evaluate", "speed", "--out", "speed", option, value) == 2
    assert named in capsys.readouterr().err.replace("\n", " ")


def test_text_to_image_has_tasks_of_its_own(call_program, capsys):
    for network, task in (("sd-rehearsal", "training"), ("rehearsal", "interval")):
        assert call_program(main, "evaluate", "speed", "--out", "speed", "--network", network, "--tasks", task) == 2
        assert f"got {task}" in capsys.readouterr().err.replace("\n", " ")


def test_the_text_to_image_network_is_a_quarter_of_stable_diffusion():
    shapes, whole = PIPELINES["sd-quarter"], ConditionUNetConfig()
    assert [4 * width for width in shapes.unet.widths] == list(whole.widths) and shapes.unet.heads == whole.heads
    assert (shapes.unet.text_channels, shapes.unet.shape, shapes.text.layers) == (768 // 4, (32, 32, 4), 12)
    assert 4 * np.array(shapes.vae.widths) == pytest.approx(AutoencoderConfig().widths) and shapes.vae.size == 256


@pytest.mark.parametrize("absent", ["torch", "diffusers"])
def test_error_without_pytorch_says_what_to_install(monkeypatch, absent):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(InputError, match=r"pip install 'jaxdiff\[bench\]'"):
        speed_pytorch.build("rehearsal", SIZES)


def test_error_in_a_process_is_reported_by_the_program(call_program, capsys, monkeypatch):
    monkeypatch.setattr(speed_pytorch, "build", refused)
    assert call_program(main, "evaluate", "speed", "--busy", "--out", "speed") == 2
    assert "PyTorch is missing" in capsys.readouterr().err
