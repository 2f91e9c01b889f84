"""All readers that are tried, by name. To add one, give its `Target` in the file of its kind."""

from tests.fuzzing.data_sets import DATA_SETS
from tests.fuzzing.models import MODELS
from tests.fuzzing.property import Target
from tests.fuzzing.results import RESULTS
from tests.fuzzing.series import SERIES
from tests.fuzzing.text import TEXT
from tests.fuzzing.text_to_image import TEXT_TO_IMAGE

TARGETS: dict[str, Target] = {**DATA_SETS, **MODELS, **RESULTS, **SERIES, **TEXT, **TEXT_TO_IMAGE}
