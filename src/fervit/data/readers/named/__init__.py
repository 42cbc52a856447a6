"""The public data sets by their names: a form for each, recognised by what lies in a folder, or named by the user."""
