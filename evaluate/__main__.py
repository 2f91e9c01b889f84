"""`jaxdiff evaluate`: measures sets of images, models and speed."""

from jaxdiff._console import interrupts

if __name__ == "__main__":
    interrupts.end_while_importing()

from jaxdiff._console.commands import Command, Program

OPTIONS = Program(
    "evaluate",
    __package__,
    "Evaluates images from any source (sets of samples, folders, zip and npz files), time series, models and speed.",
    {
        "conditions": Command(
            "imputation, constraints and trends of a series model",
            "options.series_conditions:SeriesConditions",
            "series_conditions:conditions",
        ),
        "decomposition": Command(
            "trend, season and residual of windows by a series model",
            "options.decomposition:SeriesParts",
            "decomposition:decomposition",
        ),
        "fairness": Command(
            "how strongly images depend on an attribute, and their quality",
            "options.fairness:Fairness",
            "fairness:fairness",
        ),
        "likelihood": Command(
            "bits per dimension of held-out images under a model",
            "options.likelihood:Likelihood",
            "likelihood:likelihood",
        ),
        "memorization": Command(
            "copies of training data in synthetic sets; membership attack",
            "options.memorization:Memorization",
            "memorization:memorization",
        ),
        "prompts": Command(
            "shares of values by prompt; agreement with prompts",
            "options.prompts:PromptSets",
            "prompts:prompts",
        ),
        "report": Command(
            "HTML page of `fairness` or `prompts`, with the images",
            "options.html_report:HtmlReport",
            "html_report:html_report",
        ),
        "safety": Command("rate of unsafe images, and the quality of guarded sets", "options.safety:Safety", "safety:safety"),
        "series": Command("windows of time series compared with real ones", "options.series:SeriesSets", "series:series"),
        "speed": Command(
            "compare the speed of jaxdiff and PyTorch with the same weights", "options.speed:Speed", "speed:speed"
        ),
        "sweep": Command("`fairness` of sets drawn at many tau, with the search curves", "options.sweep:Sweep", "sweep:sweep"),
    },
)
main, start = OPTIONS.main, OPTIONS.start

if __name__ == "__main__":
    start()
