"""Many runs of one recipe: a search over its settings (Optuna, `fervit[tune]`), and the same settings over seeds."""
