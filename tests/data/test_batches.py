"""Functions of batches, applied by all processes: each row is computed once, in order, with equal and unrounded results."""

import numpy as np

from jaxdiff.batches import in_batches
from tests.processes import succeed

ANSWERED = """
import numpy as np
from jaxdiff.batches import in_batches
from jaxdiff.quality.moments import Moments

mine, others = jax.process_index(), jax.process_count()
for count in (1, 4, 5, 17):
    rows, seen, done = {"x": np.arange(count * 3.0).reshape(count, 3), "i": np.arange(count)}, [], []

    def function(batch):
        seen.append((int(batch["i"][0]), batch["i"].sharding.device_set.pop().process_index))
        return batch["x"].sum(1), {"process": np.full(4, mine)}

    sums, received = in_batches(function, rows, 4, advance=done.append)
    np.testing.assert_array_equal(sums, rows["x"].sum(1).astype(np.float32))
    np.testing.assert_array_equal(received["process"], np.arange(count) // 4 % others)
    # a process without batches of its own evaluates the first, which does not count
    assert sorted(seen) == ([(start, mine) for start in range(4 * mine, count, 4 * others)] or [(0, mine)]), seen
    assert sum(done) <= count and (others > 1 or sum(done) == count)

# what is of float64 arrives to the last bit: sums of features add up over processes exactly
features = np.random.default_rng(0).standard_normal((40, 5)) + 1e6
parts = [features[p::2] for p in range(2)]
own = Moments.from_features(parts[mine])
received = parallel.exchange(own.mean.tobytes() + own.scatter.tobytes())
for message, part in zip(received, parts):
    expected = Moments.from_features(part)
    assert message == expected.mean.tobytes() + expected.scatter.tobytes()
own = {"a": np.array([1 / 3]) + mine, "b": jax.numpy.full((2, 2), 7 - mine), "c": np.uint8(3 + mine)}
tree = parallel.broadcast_from_first(own)
assert tree["a"].dtype == np.float64 and tree["a"][0] == 1 / 3
assert (tree["b"] == 7).all() and tree["b"].shape == (2, 2) and tree["c"] == 3
print("equal")
"""


def test_two_processes_compute_each_row_once_and_agree_bit_for_bit():
    assert all("equal" in output for output in succeed(("-c", ANSWERED), 2, devices=2))


def test_one_process_computes_all_rows_and_reports_progress():
    rows, done = np.arange(11.0), []
    answers = in_batches(lambda batch: 2 * batch, rows, 4, advance=done.append)
    np.testing.assert_array_equal(answers, 2 * rows)
    assert done == [4, 4, 3]
