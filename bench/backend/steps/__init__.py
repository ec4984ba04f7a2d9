"""The steps of a model, each once: whoever times, traces, profiles or counts one takes it from here."""
