"""A data set of TensorFlow Datasets; see `jaxdiff.data.tfds`."""

from jaxdiff.data.readers.reader import Read, Reader, Request


class Tfds(Reader):
    """Reads `tfds:NAME`, optionally `tfds:NAME?manual_dir=PATH&data_dir=PATH`."""

    name = "tfds"
    about = "tfds:NAME, a data set of TensorFlow Datasets"
    names_values = True
    manual = True

    def recognises(self, request: Request) -> bool:
        return request.kind == "tfds"

    def read(self, request: Request) -> Read:
        from jaxdiff.data import tfds  # takes seconds to import

        return Read(*tfds.read(request.spec, manual_dir=request.manual_dir))
