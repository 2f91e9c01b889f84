"""Programs as benchmarks run them: what has ended is not run again, and what was interrupted is."""

import numpy as np
import pytest

from bench import programs
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from tests.evaluate.prompted import written


def test_a_set_is_drawn_unless_it_is_whole(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(programs, "run", lambda *given: commands.append(given))
    images = np.zeros((6, 4, 4, 3), np.uint8)
    assert programs.drawn(tmp_path / "none", "--count", 6) == tmp_path / "none"
    SampleSet.create(tmp_path / "half", {"seed": 0}, (), np.zeros((6, 0), np.int32), Pixels(4, 4, 3))
    programs.drawn(tmp_path / "half", "--count", 6)
    programs.drawn(written(tmp_path / "whole", images), "--count", 6)
    assert commands == [("sample", "draw", "--count", 6, "--out", tmp_path / name) for name in ("none", "half")]


def test_a_program_that_fails_is_an_error(capfd):
    with pytest.raises(InputError, match="`jaxdiff sample --no-such-option` ended with status 2"):
        programs.run("sample", "--no-such-option")
