"""What happens once numbers exist: cross-checks and tables. Never imports torch."""
