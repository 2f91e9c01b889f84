"""Models of other programs as models of jaxdiff, and the other way: names, layouts and conventions, by pure functions."""
