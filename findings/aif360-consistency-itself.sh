#!/usr/bin/env bash
# Packages: aif360 0.6.1 on scikit-learn 1.9.1, pandas 2.3.3, numpy 2.4.6.
# Expected: consistency (Zemel et al. 2013) compares the label of a sample with the labels of its nearest neighbours: "how
#   similar the labels are for similar instances". Labels thrown by a fair coin have a consistency of 1/2, for any number of
#   neighbours.
# What happens: each sample is its own nearest neighbour. With n_neighbors=1 the consistency is 1, the best there is, whatever
#   the labels. With k neighbours random labels have 1/2 + 1/(2k), 0.6 with the default of 5, and predictions of a
#   model look more consistent than they are. consistency_score of aif360.sklearn does the same. Without the sample
#   itself, as kneighbors() of scikit-learn gives the neighbours of the fitted samples, it is 1/2.
# Output seen:
#   random labels,  1 neighbours: consistency 1.000, consistency_score 1.000, without itself 0.493
#   random labels,  2 neighbours: consistency 0.747, consistency_score 0.747, without itself 0.489
#   random labels,  5 neighbours: consistency 0.595, consistency_score 0.595, without itself 0.497
#   random labels, 50 neighbours: consistency 0.509, consistency_score 0.509, without itself 0.499
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  aif360==0.6.1 scikit-learn==1.9.1 pandas==2.3.3 numpy==2.4.6
"$folder/venv/bin/python" -I - <<'PY'
import logging

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

logging.disable(logging.WARNING)  # of optional parts that are not installed
from aif360.datasets import BinaryLabelDataset
from aif360.metrics import BinaryLabelDatasetMetric
from aif360.sklearn.metrics import consistency_score

rng = np.random.default_rng(0)
n = 4000
table = pd.DataFrame({"group": rng.integers(0, 2, n), "x": rng.normal(size=n), "label": rng.integers(0, 2, n)})
data = BinaryLabelDataset(df=table, label_names=["label"], protected_attribute_names=["group"])
metric = BinaryLabelDatasetMetric(data, [{"group": 0}], [{"group": 1}])
features, labels = table[["group", "x"]], table["label"].to_numpy()


def without_itself(k):
    neighbours = NearestNeighbors(n_neighbors=k).fit(features).kneighbors(return_distance=False)
    return 1 - np.abs(labels - labels[neighbours].mean(1)).mean()


for k in (1, 2, 5, 50):
    dataset, sklearn = float(metric.consistency(k)[0]), consistency_score(features, labels, n_neighbors=k)
    other = without_itself(k)
    print(f"random labels, {k:2} neighbours: consistency {dataset:.3f}, consistency_score {sklearn:.3f}, without itself {other:.3f}")
    for value in (dataset, sklearn):
        assert abs(value - (0.5 + 0.5 / k)) < 0.03, "changed: a sample is no longer its own neighbour"
    assert abs(other - 0.5) < 0.03, "changed: without the sample itself the consistency is not 1/2"
PY
