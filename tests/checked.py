"""Checks of annotated types at each call, as jaxtyping's decorator makes them, at less cost.

What is checked is the same: each argument and what is returned, by beartype, and the axes of the arrays of a call by jaxtyping.
Here an argument is checked once in a call and not twice, a check is made when it is first needed, and functions without
annotations have none. A local function, which is defined again whenever the function around it runs, is checked by what was
made for it before.
"""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

_by_type = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))
_axes = jaxtyping.jaxtyped("context")
"""Within it the axes of arrays have one size by name; stateless, so that calls nest in it."""
_made: dict[Hashable, tuple[Callable | None, Callable | None, bool]] = {}


def install(package: str) -> None:
    """Checks the functions and dataclasses of a package that nothing has imported yet."""
    jaxtyping.jaxtyped = lambda *, typechecker: checked  # of which jaxtyping's hook puts a call before each definition
    jaxtyping.install_import_hook(package, "beartype.beartype")


def checked(made: Any) -> Any:
    """A function, or a dataclass, whose calls are checked."""
    if inspect.isclass(made):
        if is_dataclass(made) and not hasattr(made.__init__, "_is_checked"):
            made.__init__ = checked(made.__init__)
        return made
    if not made.__annotations__:
        return made
    found = None

    @wraps(made)
    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal found
        __tracebackhide__ = True
        if found is None:
            found = _checks(made)
        taken, returned, has_axes = found
        if not has_axes:
            return _called(made, taken, returned, arguments, named)
        with _axes:
            return _called(made, taken, returned, arguments, named)

    call._is_checked = True
    return call


def _called(made: Callable, taken: Callable | None, returned: Callable | None, arguments: tuple, named: dict) -> Any:
    __tracebackhide__ = True
    if taken:
        taken(*arguments, **named)
    result = made(*arguments, **named)
    return returned(result) if returned else result


def _checks(made: Any) -> tuple[Callable | None, Callable | None, bool]:
    """What checks the arguments of a function, what checks its result, and whether axes of arrays are named in either."""
    try:
        key = made.__code__, made.__qualname__, tuple(made.__annotations__.items())
        if key in _made:
            return _made[key]
    except TypeError:  # an annotation without a hash
        key = None
    hints = {name: _resolved(annotation, made) for name, annotation in made.__annotations__.items()}
    result = {name: hint for name, hint in hints.items() if name == "return"}
    taken = {name: hint for name, hint in hints.items() if name != "return"}
    parts = (
        _stub(made, str(_bare(made)), taken, made.__defaults__, made.__kwdefaults__) if taken else None,
        _stub(made, "(result)", result) if result else None,
        any(map(_has_axes, hints.values())),
    )
    if key:
        _made[key] = parts
    return parts


def _stub(
    made: Any, parameters: str, hints: dict[str, Any], defaults: tuple | None = None, named: dict | None = None
) -> Callable:
    """A checked function of these parameters, which returns the first: its errors name the function that it stands for."""
    namespace: dict[str, Any] = {}
    exec(f"def {made.__name__}{parameters}: {'return result' if 'return' in hints else 'pass'}", namespace)
    stub = namespace[made.__name__]
    stub.__qualname__, stub.__module__, stub.__annotations__ = made.__qualname__, made.__module__, hints
    stub.__defaults__, stub.__kwdefaults__ = defaults, named
    return _by_type(stub)


def _bare(made: Callable) -> inspect.Signature:
    """Its parameters without annotations; those that are optional have the default None."""
    signature, empty = inspect.signature(made), inspect.Parameter.empty
    parameters = [
        each.replace(annotation=empty, default=empty if each.default is empty else None)
        for each in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters, return_annotation=empty)


def _resolved(annotation: Any, made: Any) -> Any:
    """An annotation without names in quotes; Any, where one is of what only a type checker imports."""

    def bearer(value):
        pass

    bearer.__annotations__ = {"value": annotation}
    try:
        return get_type_hints(bearer, made.__globals__, include_extras=True)["value"]
    except Exception:
        return Any


def _has_axes(hint: Any) -> bool:
    return getattr(hint, "__module__", "").startswith("jaxtyping") or any(map(_has_axes, get_args(hint)))
