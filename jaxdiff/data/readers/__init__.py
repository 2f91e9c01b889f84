"""Readers of data sets: one file for each kind, and the registry from which `open_data` chooses."""

from jaxdiff.data.readers.embedded import Embedded
from jaxdiff.data.readers.npz import Npz
from jaxdiff.data.readers.reader import Read, Reader, Request, Table
from jaxdiff.data.readers.sample_set import SampleSetReader
from jaxdiff.data.readers.table import LabelsTable
from jaxdiff.data.readers.tfds import Tfds

READERS: tuple[Reader, ...] = (Embedded(), Tfds(), Npz(), SampleSetReader(), LabelsTable())
"""The kinds of data sets; a request is read by the first that recognises it."""

__all__ = ["READERS", "Read", "Reader", "Request", "Table"]
