"""From a config's fields to a family's dataclass; one module per group of families.

A missing field takes the default of transformers' configuration class of that model type, the published file's value
wins over it.
"""
