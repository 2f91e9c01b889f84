"""The checksum of a checkpoint depends on every bit and its position, and on nothing else."""

import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.checkpoint import Checkpoints, _digest
from jaxdiff.errors import InputError


def tree(rng):
    return {"w": rng.standard_normal((3, 4, 5), np.float32), "v": rng.standard_normal((3, 4, 5), np.float32), "n": np.int32(7)}


def swapped(state):
    """The first two of the greatest array's entries, in each other's place."""
    w = state["w"].copy()
    w.flat[:2] = w.flat[1::-1]
    return {**state, "w": w}


def flipped(state, entry=17, bit=3):
    """One bit of one entry, turned."""
    w = state["w"].copy()
    w.view(np.uint32).flat[entry] ^= np.uint32(1 << bit)
    return {**state, "w": w}


@pytest.mark.parametrize(
    "change",
    [
        swapped,
        flipped,
        lambda state: flipped(state, 0, 31),
        lambda state: flipped(state, 59, 0),
        lambda state: {**state, "w": state["v"], "v": state["w"]},
        lambda state: {**state, "w": state["w"].swapaxes(0, 1).reshape(3, 4, 5)},
        lambda state: {**state, "n": np.int32(8)},
    ],
)
def test_a_change_of_any_bit_or_place_changes_the_checksum(change, rng):
    state = tree(rng)
    assert int(_digest(change(state))) != int(_digest(state))


def test_the_checksum_is_one_of_the_numbers_alone(rng):
    state = tree(rng)
    assert int(_digest(jax.tree.map(jnp.asarray, state))) == int(_digest(jax.tree.map(np.copy, state)))


def test_the_newest_two_are_kept_and_what_is_half_written_is_dropped(rng, tmp_path):
    (tmp_path / "5.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "notes").mkdir()
    state = jax.tree.map(jnp.asarray, tree(rng))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() is None
        for step in (9, 10, 11):
            checkpoints.save(step, state, {"data": step})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "11", "notes"]
    restored, position = Checkpoints(tmp_path).restore(11, state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert position == {"data": 11}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to .*file"):
        Checkpoints(tmp_path / "file" / "checkpoints")


@pytest.mark.parametrize("late, message", [(2, None), (10**6, "cannot write to .*: Directory not empty")])
def test_a_writer_that_is_ending_does_not_stop_the_next_run(tmp_path, monkeypatch, late, message):
    """A file that appears while an incomplete checkpoint is removed: the removal is repeated, though not for ever."""
    incomplete, remove = tmp_path / "2.orbax-checkpoint-tmp", shutil.rmtree
    incomplete.mkdir()
    calls = []

    def removed(folder):
        calls.append(folder)
        if len(calls) <= late:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        remove(folder)

    monkeypatch.setattr("shutil.rmtree", removed)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    if message is None:
        Checkpoints(tmp_path)
        assert not incomplete.exists() and calls == [incomplete] * (late + 1)
    else:
        with pytest.raises(InputError, match=message):
            Checkpoints(tmp_path)
