"""Keys of finished parts hold everything they depend on; a part is computed once."""

import dataclasses

import numpy as np
import pytest

from jaxdiff.finished import key_of, once, once_json, run_all

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def flipped(array):
    """The array with its last bit flipped."""
    changed = array.copy()
    changed.reshape(-1).view(np.uint8)[-1] ^= 1
    return changed


@pytest.mark.parametrize(
    "other",
    [
        ("other", IMAGES, {"steps": 3, "rate": 0.1}, "x"),
        ("part", flipped(IMAGES), {"steps": 3, "rate": 0.1}, "x"),
        ("part", IMAGES.astype(np.int8), {"steps": 3, "rate": 0.1}, "x"),
        ("part", IMAGES.reshape(3, 2, 4), {"steps": 3, "rate": 0.1}, "x"),
        ("part", IMAGES, {"steps": 4, "rate": 0.1}, "x"),
        ("part", IMAGES, {"steps": 3, "rate": np.nextafter(0.1, 1)}, "x"),
        ("part", IMAGES, {"steps": 3, "decay": 0.1}, "x"),
        ("part", IMAGES, {"steps": 3, "rate": 0.1}, "y"),
        ("part", IMAGES, {"steps": 3, "rate": 0.1}),
    ],
)
def test_every_dependency_changes_the_key(other):
    key = key_of("part", IMAGES, {"steps": 3, "rate": 0.1}, "x")
    assert key_of(*other) != key
    # the layout in memory is no dependency
    assert key_of("part", np.asfortranarray(IMAGES), {"steps": 3, "rate": 0.1}, "x") == key


def test_objects_are_no_dependencies():
    """Their bytes are addresses, which differ between processes."""

    @dataclasses.dataclass
    class Settings:
        steps: int = 3

    with pytest.raises(TypeError):
        key_of("part", Settings())


def test_a_part_is_computed_once_and_never_without_a_place_for_it():
    finished, computed = {}, []

    def compute():
        computed.append(1)
        return {"x": np.array([np.pi])}

    for _ in range(3):
        assert once(finished, "a", compute)["x"].tobytes() == np.array([np.pi]).tobytes()
    assert len(computed) == 1
    for _ in range(2):
        once(None, "a", compute)
    assert len(computed) == 3


def test_json_is_the_same_when_computed_and_when_found():
    finished, value = {}, {"b": [0.1, float("inf"), None, (1, "é")], "a": {"nan": float("nan")}}
    first, again = (repr(once_json(finished, "a", each)) for each in (lambda: value, pytest.fail))
    assert first == again == "{'b': [0.1, inf, None, [1, 'é']], 'a': {'nan': nan}}"


def test_only_unfinished_parts_are_reported():
    finished, seen = {"b": {}}, []
    parts = [(f"part {key}", key, lambda key=key: finished.setdefault(key, {}) is None or key) for key in "abc"]
    assert run_all(finished, parts, lambda *report: seen.append(report)) == ["a", "b", "c"]
    assert seen == [("part a", 1, 3), ("part c", 2, 3), ("done", 3, 3)]


def test_each_part_is_looked_up_once_and_without_a_place_all_are_run():
    class Asked(dict):
        asked = []

        def __contains__(self, key):
            self.asked.append(key)
            return super().__contains__(key)

    parts, seen = [(f"part {key}", key, lambda key=key: key) for key in "aba"], []
    assert run_all(Asked(b={}), parts, None) == ["a", "b", "a"] and Asked.asked == ["a", "b"]
    assert run_all(None, parts, lambda *report: seen.append(report)) == ["a", "b", "a"]
    assert seen == [("part a", 0, 3), ("part b", 1, 3), ("part a", 2, 3), ("done", 3, 3)]
