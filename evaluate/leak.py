"""What the images of a set reveal of their labels beyond the feature that defines them."""

from typing import Any

import numpy as np

from jaxdiff.fairness.evaluation import SetEvaluation
from jaxdiff.fairness.slack import measure_slack


def slack(result: SetEvaluation, shown: np.ndarray, labels: np.ndarray, **resampling: Any) -> dict[str, Any]:
    """The slack of a set, JSON-ready under `slack`.

    Arguments:
        result: of the set.
        shown: whether each of its images shows its label (n,).
        labels: of the images (n,).
        resampling: replicates and seed of the bootstrap.
    """
    tested = result.predictions.get("synthetic->synthetic") or result.predictions["real->real"]
    found = measure_slack(shown, labels, tested.predicted, tested.indices, values=len(result.count), **resampling)
    return {"slack": {"value": found.value, "interval": found.interval.tolist(), "shown": found.shown}}
