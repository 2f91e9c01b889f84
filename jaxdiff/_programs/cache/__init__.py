"""`jaxdiff cache`: what is cached on this machine."""
