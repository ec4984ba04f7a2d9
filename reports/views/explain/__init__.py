"""How an answer came about, formula by formula."""
