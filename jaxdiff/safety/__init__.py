"""Safety: how often samples show what is unsafe, when a gate opens, and what a model has memorised of its training images."""
