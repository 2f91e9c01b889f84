#!/usr/bin/env bash
# Package: grain 0.2.18.
# Expected: worker_count of grain.DataLoader, "number of child processes launched to parallelize the transformations among",
#   changes speed and not what a step trains on: the sampler has the order of the records, and determinism is "one of the core
#   requirements". With 8 records, batches of 4 and drop_remainder=True nothing is left over.
# What happens: each worker makes batches of its own share of the records (Grain's page on its design has an example) and drops
#   its own remainder. Another number of workers is another sequence of batches from the same seed; and with 3 workers no share
#   fills a batch, so an epoch has no step at all. Without drop_remainder there are more batches instead, of other sizes.
# Output seen:
#   dropping:  workers 0 [[0, 1, 2, 3], [4, 5, 6, 7]]
#   dropping:  workers 2 [[0, 2, 4, 6], [1, 3, 5, 7]]
#   dropping:  workers 3 []
#   keeping:   workers 3 [[0, 3, 6], [1, 4, 7], [2, 5]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grain==0.2.18
cat > "$folder/check.py" <<'PY'
import grain
from absl import flags

flags.FLAGS.mark_as_parsed()  # as absl.app.run does; Grain reads its flags


def batches(workers, drop_remainder=True):
    loader = grain.DataLoader(
        data_source=list(range(8)),
        sampler=grain.samplers.IndexSampler(num_records=8, num_epochs=1, shuffle=False),
        operations=[grain.transforms.Batch(4, drop_remainder=drop_remainder)],
        worker_count=workers,
    )
    found = [batch.tolist() for batch in loader]
    print(f"{'dropping' if drop_remainder else 'keeping'}:".ljust(10), f"workers {workers} {found}")
    return found


if __name__ == "__main__":
    if batches(0) != [[0, 1, 2, 3], [4, 5, 6, 7]]:
        raise SystemExit("changed: the main process makes other batches")
    if batches(2) != [[0, 2, 4, 6], [1, 3, 5, 7]]:
        raise SystemExit("changed: two workers no longer make batches of their own records")
    if batches(3) != []:
        raise SystemExit("changed: three workers no longer drop every record")
    if batches(3, drop_remainder=False) != [[0, 3, 6], [1, 4, 7], [2, 5]]:
        raise SystemExit("changed: three workers no longer make three partial batches")
PY
"$folder/venv/bin/python" -I "$folder/check.py"
