"""The HTTP service: accept, validate, batch what is queued, decide, journal, answer."""
