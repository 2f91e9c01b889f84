"""Floating-point operations of a function: those of its matrix products and convolutions, counted before it is compiled."""

import math
from collections.abc import Callable
from typing import Any

import jax


def matrix_flops(function: Callable, *arguments: Any) -> int:
    """Two for each multiply-add of every `dot_general` and `conv_general_dilated` of a function, loops included.

    Elementwise operations and reductions are not counted: compared with matrix units, they are limited by memory. A convolution
    includes the products with its zero padding, as is usual; XLA's own count excludes them, and ignores what it passes to a
    library. Of a conditional the most expensive branch counts, of an unbounded loop one iteration.

    Arguments:
        function: traced with the shapes of `arguments`.
        arguments: arrays, or anything with a shape and a dtype.
    """
    return traced_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def traced_flops(jaxpr: Any) -> int:
    """`matrix_flops` of what JAX traced of a function."""
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, spec = equation.invars[1].aval.shape, parameters["dimension_numbers"].rhs_spec
        # the kernel's input channels are those of one group
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // kernel[spec[0]]
    if name == "cond":
        return max(traced_flops(branch.jaxpr) for branch in parameters["branches"])
    inner = sum(traced_flops(getattr(value, "jaxpr", value)) for value in parameters.values() if _is_jaxpr(value))
    return inner * parameters["length"] if name == "scan" else inner


def _is_jaxpr(value: Any) -> bool:
    """Whether a parameter of an equation is a function of its own, closed or not."""
    return hasattr(getattr(value, "jaxpr", value), "eqns")
