#!/usr/bin/env bash
# Packages: concept-erasure 0.2.4 on torch 2.13.0, scikit-learn 1.9.1, numpy 2.4.6.
# Expected: after LeaceEraser.fit(X, Y) no linear classifier finds the concept (Belrose et al. 2023): the means of all classes
#   are equal, and logistic regression does as well as guessing. The README passes the labels of make_classification(n_classes=k) as
#   they are, with k = 2, and speaks of "the number of classes in the concept". Three groups, as of age or race, are k = 3.
# What happens: labels 0, 1, 2 are taken for a quantity, and only its covariance with X is erased. The means of the classes stay
#   apart, and logistic regression still finds the class of most samples, without an error or a warning. One-hot labels
#   are erased as promised.
# Output seen:
#   2 classes, before                    furthest mean  2.4142, accuracy 0.951, of the largest class alone 0.500
#   2 classes, erased by class numbers   furthest mean  0.0000, accuracy 0.500, of the largest class alone 0.500
#   2 classes, erased by one-hot labels  furthest mean  0.0000, accuracy 0.500, of the largest class alone 0.500
#   3 classes, before                    furthest mean  3.2094, accuracy 0.935, of the largest class alone 0.335
#   3 classes, erased by class numbers   furthest mean  3.1723, accuracy 0.625, of the largest class alone 0.335
#   3 classes, erased by one-hot labels  furthest mean  0.0000, accuracy 0.335, of the largest class alone 0.335
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 concept-erasure==0.2.4 scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" -I - <<'PY'
import numpy as np
import torch
from concept_erasure import LeaceEraser
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression


def report(name, features, labels):
    features = features.numpy()
    means = np.stack([features[labels == label].mean(0) for label in np.unique(labels)])
    apart = float(np.linalg.norm(means - features.mean(0), axis=1).max())
    model = LogisticRegression(max_iter=1000).fit(features, labels)
    accuracy, guess = model.score(features, labels), np.bincount(labels).max() / len(labels)
    print(f"{name:36} furthest mean {apart:7.4f}, accuracy {accuracy:.3f}, of the largest class alone {guess:.3f}")
    return apart, accuracy - guess


seen = {}
for k in (2, 3):
    features, labels = make_classification(
        n_samples=2048, n_features=128, n_informative=8, n_clusters_per_class=1, n_classes=k, random_state=42
    )
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    seen[k, "before"] = report(f"{k} classes, before", x, labels)
    seen[k, "numbers"] = report(f"{k} classes, erased by class numbers", LeaceEraser.fit(x, y)(x), labels)
    one_hot = torch.nn.functional.one_hot(y, k)
    seen[k, "one-hot"] = report(f"{k} classes, erased by one-hot labels", LeaceEraser.fit(x, one_hot)(x), labels)
assert seen[3, "numbers"][0] > 0.1 and seen[3, "numbers"][1] > 0.1, "changed: three class numbers are erased"
for case in ((2, "numbers"), (2, "one-hot"), (3, "one-hot")):
    assert seen[case][0] < 1e-9 and abs(seen[case][1]) < 0.01, f"changed: {case} are no longer erased"
PY
