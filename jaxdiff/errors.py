"""The one exception that blames the input, not the code."""


class InputError(ValueError):
    """An argument, a file or a data set is not what jaxdiff takes.

    The message names the argument, what it got and what it takes. The programs print it without a traceback and exit
    with status 2; any other exception is a defect of jaxdiff and keeps its traceback.
    """


class LostProcess(InputError):
    """Another process of a run has ended, or is out of reach: this one cannot go on."""
