"""Generated series: sines have the distribution of the paper, with and without classes; the hopper moves as a body does."""

import numpy as np
import pytest
from scipy.stats import kstest

from jaxdiff.data import describe
from jaxdiff.data.series import open_series
from jaxdiff.data.series.mujoco import Hopper
from jaxdiff.data.series.sines import Sines
from jaxdiff.errors import InputError


def fitted(windows):
    """Frequencies and phases of sines, (N, F) each, from the angles of their values, which stay below π/2 in 12 steps."""
    angles = np.arcsin(2 * windows[:, :12] - 1)
    return np.diff(angles, axis=1).mean(axis=1), angles[:, 0], np.ptp(np.diff(angles, axis=1), axis=1)


def test_values_are_sines_of_uniform_frequencies_and_phases():
    windows = Sines(count=2000, seed=3).windows()
    assert windows.shape == (2000, 24, 5) and windows.min() >= 0.5 and windows.max() <= 1
    frequency, phase, bend = fitted(windows)
    assert bend.max() < 1e-6
    for number in (frequency, phase):
        assert kstest(number.ravel() * 10, "uniform").pvalue > 0.01
    # of each feature its own
    assert np.abs(np.corrcoef(np.concatenate([frequency, phase], axis=1).T) - np.eye(10)).max() < 0.1


def test_classes_halve_the_ranges_and_are_associated():
    sines = Sines(count=4000, labelled=True, start=(0.1, 0.7))
    frequency, phase, _ = fitted(sines.windows())
    fast, high = sines.labels().T
    assert ((frequency > 0.05) == fast[:, None]).all() and ((phase > 0.05) == high[:, None]).all()
    # four standard deviations of shares of some 2000 windows
    np.testing.assert_allclose([fast.mean(), high[fast == 0].mean(), high[fast == 1].mean()], [0.5, 0.1, 0.7], atol=0.045)
    assert kstest(frequency[:, 0] * 10, "uniform").pvalue > 0.01


def test_a_window_is_a_function_of_seed_and_index():
    few, many = Sines(count=5).windows(), Sines(count=50).windows()
    np.testing.assert_array_equal(few, many[:5])
    assert np.abs(few - Sines(count=5, seed=1).windows()).max() > 0.01


def test_sines_are_opened_by_name():
    spec = "sines?count=100&length=8&features=2&seed=4&label=yes&start=0,1"
    every, train, test = (open_series(spec, split=split) for split in (None, "train", "test"))
    sines = Sines(100, 8, 2, 4, True, (0.0, 1.0))
    np.testing.assert_array_equal(np.stack(every.gather(np.arange(100))), sines.windows())
    np.testing.assert_array_equal(every.labels, sines.labels())
    assert (len(train), len(test), test.whole) == (90, 10, 100) and every.columns == ("x1", "x2")
    np.testing.assert_array_equal(test.image(0), every.image(90))
    assert (every.labels[:, 0] == every.labels[:, 1]).all()
    assert "100 windows; 8 rows of x1, x2; read as sines; speed: slow" in describe(every)
    mixed = open_series(spec, split="test", by="shuffled")
    np.testing.assert_array_equal(mixed.image(3), every.image(int(np.random.RandomState(123).permutation(100)[93])))
    assert open_series("sines").attributes == () and len(open_series("sines")) == 10_000


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sines?size=3", "unknown option 'size' of sines; they take count, length"),
        ("sines?count=0", "`count` of sines must be a whole number from 1 to 10,000,000, got 0"),
        ("sines?length=x", "`length` must be a whole number, got 'x'"),
        ("sines?label=maybe", "`label` of sines must be yes or no, got 'maybe'"),
        ("sines?start=0.1,0.2", "`start` of sines needs label=yes"),
        ("sines?label=yes&start=0.1", "`start` of sines must be two probabilities, such as 0.2,0.8, got '0.1'"),
        ("sines?label=yes&start=0.1,1.5", "`start` of sines must be two probabilities, of slow and of fast"),
        ("sines?count", "'count' of 'sines.count' is no option"),
        ("sines?seed=1&seed=2", "has the option 'seed' twice"),
        ("mujoco?features=3", "unknown option 'features' of mujoco; it takes count, length, seed"),
        ("mujoco?count=0", "`count` of mujoco must be a whole number from 1"),
    ],
)
def test_options_that_are_none_are_refused(spec, message):
    with pytest.raises(InputError, match=message):
        open_series(spec)


def test_windows_and_columns_of_a_model_are_checked():
    with pytest.raises(InputError, match="`window` is 12, but windows of 'sines' have 24 rows; its option is `length`"):
        open_series("sines", window=12)
    with pytest.raises(InputError, match="'sines' has the columns x1, x2, x3, x4, x5, got a"):
        open_series("sines", columns=["a"])


def test_the_hopper_needs_dm_control(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    monkeypatch.setitem(sys.modules, "dm_control", None)
    Hopper.simulation.cache_clear()
    with pytest.raises(InputError, match=r"need dm_control: pip install 'jaxdiff\[mujoco\]'"):
        open_series("mujoco?count=1")


def test_positions_of_the_hopper_are_integrals_of_its_velocities():
    pytest.importorskip("dm_control")
    windows = Hopper(count=20, length=12).windows()
    assert windows.shape == (20, 12, 14)
    np.testing.assert_array_equal(windows[:3], Hopper(count=3, length=12).windows())
    start = windows[:, 0]
    assert (start[:, :2] >= 0).all() and (start[:, :2] <= 0.5).all() and (np.abs(start[:, 2:7]) <= 2).all()
    assert (np.abs(start[:, 7:]) <= 5).all() and np.abs(start[:, 7:]).max() > 4
    # semi-implicit Euler of 5 ms: the velocity after a step moves the position
    moved = np.diff(windows[:, :, :7], axis=1)
    np.testing.assert_allclose(moved, 0.005 * windows[:, 1:, 7:], atol=1e-9)
