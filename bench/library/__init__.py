"""The verbs as functions of Python: keyword arguments instead of options, an answer with attributes instead of text."""
