"""Rounds of work in one process: what grows is measured, and drawing, searching and evaluating leave nothing behind."""

import mmap
import os

import jax
import numpy as np
import pytest

from bench.soak import Round, growth, one_round, rounds, verdict


@pytest.mark.slow
@pytest.mark.usefixtures("small_classifiers")
def test_drawing_searching_and_evaluating_leave_no_descriptor_and_compile_nothing_again(save_model, tmp_path, monkeypatch):
    """Of a small model, since what they leave behind does not depend on its weights."""
    monkeypatch.setattr("bench.soak.MODEL", save_model(tmp_path / "run", size=32))
    done = list(rounds(one_round, 0, 4))
    assert done[0].compilations > 10
    assert [each.compilations for each in done[2:]] == [0, 0]
    assert done[1].descriptors == done[2].descriptors == done[3].descriptors
    assert done[2].threads == done[3].threads


def test_every_kind_of_growth_is_measured_and_reported():
    opened, kept = [], []

    def leaking(folder, number):
        assert not list(folder.iterdir())
        opened.append(os.open(folder / "file", os.O_CREAT | os.O_WRONLY))
        kept.append(mmap.mmap(-1, 2**22))
        np.frombuffer(kept[-1], np.uint8)[:] = 1
        jax.jit(lambda x: x + number)(1.0)

    try:
        done = list(rounds(leaking, 0, 16))
    finally:
        for each in opened:
            os.close(each)
    assert np.diff([each.descriptors for each in done]).tolist() == [1] * 15
    assert all(each.compilations for each in done)
    low, high = growth([each.memory for each in done])
    assert high > 3.9 and low < 4.5  # MiB a round, and what the programs take
    faults = verdict(done, 0.05)
    assert [fault.split()[0] for fault in faults] == ["descriptors", "compilations", "memory"]


def test_the_interval_of_a_slope():
    """Of a straight line its slope; of noise around one, 95 % of the intervals hold it."""
    assert growth([3 + 0.25 * i for i in range(50)]) == pytest.approx((0.25, 0.25))
    assert growth([5.0] * 12) == (0, 0)
    generator = np.random.default_rng(0)
    held = [low < 0.01 < high for low, high in (growth(0.01 * np.arange(200) + generator.normal(size=200)) for _ in range(400))]
    assert abs(np.mean(held) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400)


def test_flat_rounds_pass_and_what_happens_in_the_first_quarter_does_not_count():
    flat = [Round(float(i), 800.0 + i % 2 / 100, 8, 22, 0) for i in range(30)]
    first = [Round(float(i), 500.0 + 30 * i, 5 + i, 10 + i, 90) for i in range(10)]
    assert verdict([*first, *flat], 0.05) == []
