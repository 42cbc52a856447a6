"""Commands run within the test's process."""

from typer.testing import CliRunner, Result

from fervit.cli import app
from fervit.errors import FervitError


def run(*arguments: object) -> Result:
    """Run `fervit` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(result: Result) -> str:
    """Return the message of a run that a user's mistake ended."""
    assert isinstance(result.exception, FervitError), result.output
    return str(result.exception)


def predict(*arguments: object) -> Result:
    """Run `fervit predict`."""
    return run("predict", *arguments)
