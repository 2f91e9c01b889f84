"""Docstrings are plain text with names in backticks: this makes reStructuredText of them."""
def setup(app):
    return {"parallel_read_safe": True}
