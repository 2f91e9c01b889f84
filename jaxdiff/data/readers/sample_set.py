"""A set of samples that `sample draw` wrote, as a data set; it has no splits, so every split is the whole set."""

from jaxdiff.data import samples
from jaxdiff.data.readers.reader import Read, Reader, Request
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels


class SampleSetReader(Reader):
    """Reads a folder with `samples.json`. Raises `InputError` if it holds samples other than images."""

    name = "samples"
    about = "a folder of samples with samples.json"
    names_values = True

    def recognises(self, request: Request) -> bool:
        return (request.path / samples.FILE).is_file()

    def read(self, request: Request) -> Read:
        found = samples.Samples.open(request.path)
        if not isinstance(found.space, Pixels):
            kind = f"{found.space.array} of shape {found.space.shape}"
            raise InputError(f"{request.spec} contains {kind}; expected a set of images")
        return Read(found, None)
