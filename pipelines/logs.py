"""What goes to standard error: lines for people, or one JSON object a line for those who collect.

With LOCKSTEP_LOGS=json in the environment each line is an object of `time` (RFC 3339, UTC),
`severity` (INFO, WARNING, ERROR) and `message`: the names that Google Cloud's logging reads, and
that others are told of easily. Warnings of libraries get `logger` too. No line names an account.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys

SETTING = "LOCKSTEP_LOGS"


def structured() -> bool:
    """Whether lines are JSON."""
    return os.environ.get(SETTING) == "json"


def line(severity: str, text: str, **more: str) -> str:
    """A line as it is asked for, without its end.

    >>> line("INFO", "ready")
    'ready'
    """
    if not structured():
        return text
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "severity": severity, "message": text, **more})


def log(severity: str, text: str) -> None:
    """Prints a line on standard error."""
    print(line(severity, text), file=sys.stderr, flush=True)


def install() -> None:
    """Warnings of all loggers as JSON lines, where that is asked for.

    Raises:
      ValueError: the environment asks for another format.
    """
    asked = os.environ.get(SETTING, "text")
    if asked not in ("text", "json"):
        raise ValueError(f"{SETTING} is {asked!r}: expected text or json")
    if structured():
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter())
        handler.setLevel(logging.WARNING)
        logging.getLogger().addHandler(handler)
        logging.captureWarnings(True)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return line(record.levelname, text, logger=record.name)
