"""The article's models, really trained: linear regressions, sums of sigmoids, deep networks, a spam classifier, a small GPT."""
