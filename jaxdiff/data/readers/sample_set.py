"""A set of samples that `sample draw` wrote, as a data set; it has no splits, so every split is the whole set."""

import numpy as np

from jaxdiff.data import samples
from jaxdiff.data.readers.reader import Read, Reader, Request
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels


class SampleSetReader(Reader):
    """Reads a folder with `samples.json`, without the images that a gate refused.

    Raises:
        InputError: it holds samples other than images, or all were refused.
    """

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
        refused = found.refused
        if not refused.any():
            return Read(found, None)
        if refused.all():
            raise InputError(f"{request.spec} has no image: a gate refused all {len(found)}")
        note = f"{refused.sum()} of {len(found)} images were refused by a gate and are left out"
        return Read(View(found, indices=np.flatnonzero(~refused)), None, (note,))
