"""A data set of TensorFlow Datasets; see `jaxdiff.data.tfds`."""

from jaxdiff.data.readers.reader import Read, Reader, Request
from jaxdiff.errors import InputError


class Tfds(Reader):
    """Reads `tfds:NAME`, optionally `tfds:NAME?manual_dir=PATH&data_dir=PATH`."""

    name = "tfds"
    about = "tfds:NAME, a data set of TensorFlow Datasets"
    names_values = True
    manual = True

    def recognises(self, request: Request) -> bool:
        return request.kind == "tfds"

    def read(self, request: Request) -> Read:
        try:
            from jaxdiff.data import tfds  # takes seconds to import
        except ModuleNotFoundError as error:
            need = "pip install tensorflow-datasets array_record importlib_resources"
            raise InputError(f"{request.spec} needs tensorflow-datasets ({error}): {need}") from error
        return Read(*tfds.read(request.spec, manual_dir=request.manual_dir, links=request.links))
