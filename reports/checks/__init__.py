"""Cross-checks: one figure held against another, each rule able to fail."""
