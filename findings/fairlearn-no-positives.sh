#!/usr/bin/env bash
# Packages: fairlearn 0.15.0 on scikit-learn 1.9.1, pandas 3.1.1.
# Expected: equalized odds compares P(prediction = 1 | label = 1, group), so a group without a positive label has no true
#   positive rate: it is left out, or the result is NaN, or a warning says so (as scikit-learn's recall_score does).
# What happens: the rate of such a group is counted as 0. A perfect classifier, no error in any group, then gets an equalized
#   odds difference of 1, the worst there is, and a ratio of 0. Small groups, as in sets of a few hundred samples with
#   several attributes, often have no positives.
# Output seen:
#   no positive in b : true positive rate a 1.0, b 0.0; equalized odds difference 1.0, ratio 0.0; warnings 0
#   one positive in b: true positive rate a 1.0, b 1.0; equalized odds difference 0.0, ratio 1.0; warnings 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  fairlearn==0.15.0 scikit-learn==1.9.1 pandas==3.1.1
"$folder/venv/bin/python" -I - <<'PY'
import warnings

from fairlearn.metrics import MetricFrame, equalized_odds_difference, equalized_odds_ratio, true_positive_rate


def measure(name, labels, groups):
    predictions = labels  # every prediction is right
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        difference = equalized_odds_difference(labels, predictions, sensitive_features=groups)
        ratio = equalized_odds_ratio(labels, predictions, sensitive_features=groups)
        rates = MetricFrame(metrics=true_positive_rate, y_true=labels, y_pred=predictions, sensitive_features=groups).by_group
    print(
        f"{name}: true positive rate a {rates['a']}, b {rates['b']}; "
        f"equalized odds difference {difference}, ratio {ratio}; warnings {len(caught)}"
    )
    return difference, ratio, len(caught)


without = measure("no positive in b ", [1, 1, 0, 0, 0, 0, 0], list("aaaabbb"))
with_one = measure("one positive in b", [1, 1, 0, 0, 0, 0, 1], list("aaaabbb"))
if without != (1.0, 0.0, 0):
    raise SystemExit("changed: a group without positives no longer counts as a true positive rate of 0")
if with_one[0] != 0.0:
    raise SystemExit("changed: with positives in both groups the difference is no longer 0")
PY
