#!/usr/bin/env bash
# Packages: jax 0.10.2 (CPU, float32), checked against scipy 1.17.1 and numpyro 0.22.0.
# Expected: jax.random.truncated_normal(key, lower, upper) draws from the density exp(-x^2 / 2) on lower < x < upper, as the
#   documentation says. Between 6 and 7 the mean is 6.157; beyond 3, without a limit above, it is 3.283.
# What happens: the draw is the inverse of erf at a number between erf(lower / sqrt 2) and erf(upper / sqrt 2), which in float32
#   are 1 or one of the few numbers just below. Between 6 and 7 every draw is 6.9999995, between 5 and 8 it is one of 10
#   values. Without a limit above, a draw that rounds to 1 becomes 3.4e38: five of a million beyond 3, all beyond 6. The
#   lower tail is the same. numpyro's TruncatedNormal, also in float32, draws both tails correctly.
# Output seen:
#   between -1 and   2: exact mean  0.2296, numpyro  0.2298, jax 0.22978077; values of jax 942524, beyond 1e38 0
#   between  2 and   3: exact mean  2.3158, numpyro  2.3158, jax  2.3158235; values of jax 539306, beyond 1e38 0
#   between  3 and inf: exact mean  3.2831, numpyro  3.2830, jax 1.7014117e+33; values of jax  45296, beyond 1e38 5
#   between  4 and   8: exact mean  4.2256, numpyro  4.2255, jax  4.2266724; values of jax   1063, beyond 1e38 0
#   between  5 and   8: exact mean  5.1865, numpyro  5.1864, jax  5.3232242; values of jax     10, beyond 1e38 0
#   between  6 and   7: exact mean  6.1572, numpyro  6.1571, jax  6.9999995; values of jax      1, beyond 1e38 0
#   between  6 and inf: exact mean  6.1585, numpyro  6.1584, jax 3.4028235e+38; values of jax      1, beyond 1e38 1000000
#   between -7 and  -6: exact mean -6.1572, numpyro -6.1571, jax -6.9999995; values of jax      1, beyond 1e38 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 numpyro==0.22.0 scipy==1.17.1
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import jax
import numpy as np
from numpyro.distributions import TruncatedNormal
from scipy.stats import truncnorm

n = 1_000_000
key = jax.random.key(0)
drawn = {}
for lower, upper in [(-1, 2), (2, 3), (3, np.inf), (4, 8), (5, 8), (6, 7), (6, np.inf), (-7, -6)]:
    z = np.asarray(jax.random.truncated_normal(key, float(lower), float(upper), (n,))).astype(np.float64)
    other = float(np.mean(np.asarray(TruncatedNormal(low=float(lower), high=float(upper)).sample(key, (n,)), np.float64)))
    mean = float(truncnorm(lower, upper).mean())
    drawn[lower, upper] = z.mean(), mean, other, len(np.unique(z)), int((np.abs(z) > 1e38).sum())
    print(
        f"between {lower:2} and {upper:3}: exact mean {mean:7.4f}, numpyro {other:7.4f}, jax {z.mean():10.8g}; "
        f"values of jax {len(np.unique(z)):6}, beyond 1e38 {drawn[lower, upper][-1]}"
    )

for bounds in [(-1, 2), (2, 3)]:
    assert abs(drawn[bounds][0] - drawn[bounds][1]) < 0.005, "changed: the middle of the normal"
assert all(abs(other - mean) < 0.005 for _, mean, other, _, _ in drawn.values()), "changed: numpyro"
assert drawn[6, 7][3] == 1 and drawn[-7, -6][3] == 1, "changed: draws between 6 and 7 are no longer all the same"
assert drawn[5, 8][0] - drawn[5, 8][1] > 0.1, "changed: the mean between 5 and 8"
assert drawn[3, np.inf][4] > 0 and drawn[6, np.inf][4] == n, "changed: draws beyond 3 are finite in float32"
PY
