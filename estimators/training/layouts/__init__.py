"""Which layout trains a model best on given devices: every legal one is priced, those that fit are ranked, and what lost says why."""
