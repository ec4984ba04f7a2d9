"""Tests mirror the packages; what they share lies in support."""
