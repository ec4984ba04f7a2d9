"""Configuration files of fine-tunings: one module a format, each with its FORMAT; `combined` reads several files of one job."""
