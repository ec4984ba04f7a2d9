"""A disclosure as tables, as one screen, and in the forms that cards, checklists and papers ask for."""
