"""What the service logs: its own failures, not the mistakes of its clients."""

import copy
import logging
from typing import Any

from uvicorn.config import LOGGING_CONFIG

# uvicorn and websockets log these, some as errors with a traceback, before any rate limit: a hostile client could
# fill the disk. The client itself gets status 400 or a close code; `fervit_rejected` of /metrics counts the rest.
CLIENT_MISTAKES = (
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "No supported WebSocket library detected.",
    "Invalid UTF-8 sequence received from client.",
    "opening handshake failed",
    "parser failed",
)


class WithoutClientMistakes(logging.Filter):
    """Drops `CLIENT_MISTAKES`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        return not str(record.msg).startswith(CLIENT_MISTAKES)


def logging_config() -> dict[str, Any]:
    """Return uvicorn's logging, as `logging.config.dictConfig` takes it, for uvicorn and fervit."""
    logs = copy.deepcopy(LOGGING_CONFIG)
    logs["filters"] = {"mistakes": {"()": f"{__name__}.{WithoutClientMistakes.__name__}"}}
    logs["handlers"]["default"]["filters"] = ["mistakes"]
    logs["loggers"]["python_multipart"] = {"level": "CRITICAL"}  # it warns of every malformed form
    logs["loggers"]["fervit"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return logs
