"""Condition encoders: labels become the rows that a network takes; unconditional models take none."""

import numpy as np
import pytest

from jaxdiff import conditions
from jaxdiff.conditions import Labels, Unconditional
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError

GROUP, HAIR = Attribute("group", ("square", "round")), Attribute("hair", ("dark", "fair", "red"))
BOTH = Labels((GROUP, HAIR))


def test_labels_are_one_hot_and_the_null_label_comes_last_of_each_attribute():
    rows = BOTH.encode(np.array([[0, 2], [-1, 0], [1, -1]]))
    np.testing.assert_array_equal(rows, [[1, 0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(BOTH.null, [0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(Labels((GROUP,)).encode(np.array([1, -1])), [[0, 1, 0], [0, 0, 1]])


def test_the_weights_of_combinations_are_read_from_a_condition():
    rows = BOTH.encode(np.array([[0, 2], [-1, 0], [1, 1]]))
    np.testing.assert_array_equal(BOTH.weights_of([0])(rows), [[1, 0], [0, 0], [0, 1]])
    both = np.array([[0, 0, 1, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 1, 0]])
    np.testing.assert_array_equal(BOTH.weights_of([0, 1])(rows), both)
    turned = both.reshape(3, 2, 3).swapaxes(1, 2).reshape(3, 6)
    np.testing.assert_array_equal(BOTH.weights_of([1, 0])(rows), turned)


def test_without_a_null_label_every_label_must_be_given():
    strict = Labels((GROUP,), has_null=False)
    np.testing.assert_array_equal(strict.encode(np.array([0, 1])), [[1, 0, 0], [0, 1, 0]])
    for encode in (lambda: strict.null, lambda: strict.encode(np.array([-1]))):
        with pytest.raises(InputError, match="the model has no null label"):
            encode()


def test_an_unconditional_model_has_no_condition():
    assert Unconditional().encode(np.zeros((3, 0), np.int32)) is None
    assert Unconditional().null is None and Unconditional().attributes == ()
    with pytest.raises(InputError, match=r"must have shape \(B, 0\), got \(3, 1\): the model is unconditional"):
        Unconditional().encode(np.zeros((3, 1), np.int32))
    with pytest.raises(InputError, match="unknown attribute 'group': the model is unconditional"):
        Unconditional().attribute("group")


@pytest.mark.parametrize("encoder", [BOTH, Labels((HAIR,), has_null=False), Unconditional()])
def test_an_encoder_is_restored_from_its_config(encoder):
    assert conditions.from_config(encoder.config()) == encoder


def test_labels_without_attributes_and_unknown_encoders_are_refused():
    assert conditions.of_attributes([]) == Unconditional() and conditions.of_attributes([GROUP, HAIR]) == BOTH
    with pytest.raises(InputError, match="`attributes` must be one or more"):
        Labels(())
    with pytest.raises(InputError, match="unknown conditions 'smell'"):
        conditions.from_config({"name": "smell"})
