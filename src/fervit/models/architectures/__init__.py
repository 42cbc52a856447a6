"""One module for each architecture; `fervit.models` says what each must offer."""
