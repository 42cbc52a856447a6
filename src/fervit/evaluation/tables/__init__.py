"""Several models on several data sets: tables of figures, and comparisons of all pairs."""
