"""`jaxdiff train`: trains models of images and series and classifiers of noised images; exports and imports models."""

from jaxdiff._console import interrupts

if __name__ == "__main__":
    interrupts.end_while_importing()

from jaxdiff import choices
from jaxdiff._console.commands import Command, Program


def _tables() -> str:
    return choices.table(Processes=choices.PROCESSES, Weightings=choices.WEIGHTINGS, Time_samplings=choices.TIME_SAMPLINGS)


def _series_tables() -> str:
    return choices.table(Bridges=choices.BRIDGES, Priors=choices.PRIORS, Other_processes=choices.PROCESSES)


OPTIONS = Program(
    "train",
    __package__,
    "Trains models of images and series and classifiers of noised images, shows how data are read, exports and imports models.",
    {
        "diffusion": Command("train a diffusion model on images", "options:Options", "run:train_diffusion", _tables),
        "series": Command(
            "train a model of time series: a diffusion bridge from a prior",
            "series_options:SeriesOptions",
            "run:train_series",
            _series_tables,
            trains_series=True,
        ),
        "classifier": Command(
            "train a classifier of noised images, for the safe denoiser",
            "options:ClassifierOptions",
            "run:train_classifier",
            lambda: choices.table(Processes=choices.PROCESSES),
        ),
        "inspect": Command(
            "show how a data set is read, with some of its images", "inspect_options:Inspect", "inspection:inspect_data"
        ),
        "export": Command("export a model to the diffusers format", "exchange_options:Export", "exchange:export_model"),
        "import": Command(
            "import a model from diffusers or guided-diffusion", "exchange_options:Import", "exchange:import_model"
        ),
    },
    default="diffusion",
)
main, start = OPTIONS.main, OPTIONS.start

if __name__ == "__main__":
    start()
