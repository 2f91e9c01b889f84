"""`jaxdiff evaluate`: images -> report."""

from jaxdiff._console.commands import Command, Program

OPTIONS = Program(
    "evaluate",
    __package__,
    "Measures images from anywhere: sets of samples, folders, zips and npz files; a model's density of images; and speed.",
    {
        "fairness": Command(
            "what is left of an attribute in synthetic images",
            "options.fairness:Fairness",
            "fairness:fairness",
        ),
        "likelihood": Command(
            "bits per dimension of images that a model has not seen",
            "options.likelihood:Likelihood",
            "likelihood:likelihood",
        ),
        "memorization": Command(
            "which training images synthetic images repeat",
            "options.memorization:Memorization",
            "memorization:memorization",
        ),
        "report": Command(
            "one HTML page of what `fairness` found, with the images",
            "options.html_report:HtmlReport",
            "html_report:html_report",
        ),
        "safety": Command(
            "how often sets show what is unsafe, and what avoiding it cost", "options.safety:Safety", "safety:safety"
        ),
        "speed": Command("jaxdiff and PyTorch with the same weights, on this machine", "options.speed:Speed", "speed:speed"),
        "sweep": Command("`fairness` of sets drawn over tau, with the searches", "options.sweep:Sweep", "sweep:sweep"),
    },
)
main, start = OPTIONS.main, OPTIONS.start

if __name__ == "__main__":
    start()
