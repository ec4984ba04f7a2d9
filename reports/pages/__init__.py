"""Answers as one self-contained HTML page with pictures."""
