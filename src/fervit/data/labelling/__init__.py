"""How a source's labels become those of the data set: `values` reads them, `rules` are the user's, `apply` decides.

The user's own names and their number stay. What is renamed, merged, left out or doubtful is said in `Dataset.notes`.
"""
