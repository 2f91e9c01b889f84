"""Exceptions for wrong input."""


class InputError(ValueError):
    """An argument, a file or a data set is invalid.

    The message names the argument, the value it got and the values it takes. The programs print it without a traceback and exit
    with status 2; any other exception is a bug in jaxdiff and keeps its traceback.
    """


class LostProcess(InputError):
    """Another process of the run has ended or is unreachable, so that this one cannot continue."""
