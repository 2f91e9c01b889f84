"""The tests' own checks of types: a wrong argument, axis or result fails wherever a function is annotated, local ones too."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, TypeCheckError

from jaxdiff.process import vp_cosine
from jaxdiff.quality import frechet_distance
from tests import checked as checks
from tests.checked import checked

ROW, COLUMN = jnp.zeros(3), jnp.zeros((3, 1))


@checked
def added(x: Float[Array, " n"], y: Float[Array, " n"] = ROW, *more: int, times: float = 1.0) -> Float[Array, " n"]:
    return x + y + sum(more) * times


def test_arguments_and_the_axes_that_they_share_are_checked():
    assert added(ROW, ROW, 1, 2, times=2.0).shape == (3,)
    for arguments, named in [((COLUMN,), {}), ((ROW, jnp.zeros(4)), {}), ((jnp.zeros(4),), {"y": ROW}), ((ROW, ROW, "1"), {})]:
        with pytest.raises(TypeCheckError, match="added"):
            added(*arguments, **named)
    with pytest.raises(TypeCheckError, match="times"):
        added(ROW, times="twice")
    with pytest.raises(TypeError, match="missing 1 required"):
        added()


def test_results_are_checked_with_the_axes_of_the_arguments():
    def doubled(x: Float[Array, " n"], right: bool) -> Float[Array, " n"]:
        return x if right else jnp.concatenate([x, x])

    def number(x) -> int:
        return x

    assert checked(doubled)(ROW, True) is ROW and checked(number)(2) == 2
    with pytest.raises(TypeCheckError, match=r"doubled\(\) return"):
        checked(doubled)(ROW, False)
    with pytest.raises(TypeCheckError, match=r"number\(\) return"):
        checked(number)("2")


def test_calls_that_nest_have_axes_of_their_own():
    @checked
    def outer(x: Float[Array, " n"]) -> Float[Array, " n"]:
        added(jnp.zeros(5), jnp.zeros(5))
        return x

    assert outer(ROW) is ROW
    with pytest.raises(TypeCheckError):
        outer(COLUMN)
    assert outer(jnp.zeros(4)).shape == (4,)  # what failed has left no axis behind


def test_dataclasses_methods_names_in_quotes_and_generators_are_checked():
    @checked
    @dataclass
    class Pair:
        x: Float[Array, " n"]
        y: Float[Array, " n"]

        @classmethod
        @checked
        def of(cls, name: "str") -> "Pair":
            return name

    assert Pair(ROW, ROW).x is ROW
    with pytest.raises(TypeCheckError):
        Pair(ROW, jnp.zeros(4))
    with pytest.raises(TypeCheckError, match="name"):
        Pair.of(1)

    @contextmanager
    @checked
    def opened(number: int) -> Iterator[int]:
        yield number

    with opened(3) as number:
        assert number == 3
    with pytest.raises(TypeCheckError), opened("3"):
        pass


def test_a_local_function_is_checked_by_what_was_made_for_it_before():
    def made(shift):
        def shifted(x: int) -> int:
            return x + shift

        return checked(shifted)

    count = len(checks._made)
    assert [made(shift)(1) for shift in (1, 2, 3)] == [2, 3, 4]
    assert len(checks._made) == count + 1
    for wrong in (lambda: made(4)("1"), lambda: made(0.5)(1)):
        with pytest.raises(TypeCheckError, match="shifted"):
            wrong()


def test_functions_of_one_name_and_other_types_are_checked_by_their_own():
    def made(kind):
        def kept(x: kind):
            return x

        return checked(kept)

    assert made(int)(1) == 1 and made(str)("1") == "1"
    for kind, value in ((int, "1"), (str, 1)):
        with pytest.raises(TypeCheckError):
            made(kind)(value)


def test_the_package_is_checked():
    with pytest.raises(TypeCheckError, match="frechet_distance"):
        frechet_distance("a", "b")
    with pytest.raises(TypeCheckError):
        vp_cosine().log_snr("0.5")
