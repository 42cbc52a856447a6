"""`python -m fervit`."""

from fervit.cli import main

main()
