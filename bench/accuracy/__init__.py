"""How the cost model's constants are fitted on measured steps, and what they are when one source is left out."""
