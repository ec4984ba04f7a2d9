"""What makes the documents and fits the constants; not shipped."""
