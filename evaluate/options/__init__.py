"""The options of `jaxdiff evaluate`, a file a command. None imports JAX or NumPy."""
