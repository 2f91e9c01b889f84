"""All readers that are tried, by name. To add one, give its `Target` in the file of its kind."""

from tests.fuzzing.data_sets import DATA_SETS
from tests.fuzzing.property import Target

TARGETS: dict[str, Target] = {**DATA_SETS}
