"""Commands run within the test's process."""

from collections.abc import Mapping

from typer.testing import CliRunner, Result

from fervit.cli import app
from fervit.errors import FervitError


def run(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
    """Run `fervit` with these arguments, and these environment variables besides."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def error_of(result: Result) -> str:
    """Return the message of a run that a user's mistake ended."""
    assert isinstance(result.exception, FervitError), result.output
    return str(result.exception)


def predict(*arguments: object) -> Result:
    """Run `fervit predict`."""
    return run("predict", *arguments)
