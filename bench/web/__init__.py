"""The questions of some verbs as forms in a browser, on this machine alone."""
