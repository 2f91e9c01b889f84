"""`jaxdiff cache`: lists and removes what is cached on this machine."""

from jaxdiff._console import interrupts

if __name__ == "__main__":
    interrupts.end_while_importing()

from jaxdiff._console.commands import Command, Program

ABOUT = "Lists and removes cached files: compiled programs, and decoded images of --unsafe and --known-safe with their latents."
OPTIONS = Program(
    "cache",
    __package__,
    ABOUT,
    {
        "list": Command("list the cached files with their sizes", "options:List", "work:show"),
        "clear": Command("remove the cached files", "options:Clear", "work:clear"),
    },
)
main, start = OPTIONS.main, OPTIONS.start

if __name__ == "__main__":
    start()
