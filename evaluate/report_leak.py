"""The table of what the images of a set reveal of their labels beyond the feature that defines them."""

from .formatting import interval, number
from .report_groups import Named, Tables

READING = """\
**Beyond the label.** The best of all classifiers has a BER of at most 100 (1 - r) on a set that shows its label in a share r of
the images. Slack is 100 (1 - r) minus the synthetic->synthetic BER: what the images reveal of their label beyond the feature
that defines it. It is at most 100 (1 - r), 0 if only that feature helps, and negative where the classifiers trained on the set
predict worse than the feature, by sampling error or for lack of images."""


def tables(named: Named, *, full: bool) -> Tables:
    """Title, header and rows; `full` gives intervals."""

    def cell(found):
        return number(found["value"]) + (f" {interval(found['interval'])}" if full else "")

    if measured := [(name, result["slack"]) for name, result in named if "slack" in result]:
        yield "beyond the label, in %", ["set", "slack"], [[name, cell(found)] for name, found in measured]
