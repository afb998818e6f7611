"""Errors that need no traceback: one line on standard error, and an exit code."""

import sys

from bus import port
from runtime.errors import UserError
from runtime.supervisor import PREFIX, USER_ERROR

FAULT, MISUSE, INTERRUPTED = 1, USER_ERROR, 130


def told(error: BaseException) -> tuple[str, int] | None:
    """Return the line and the exit code for an error, or None where only a traceback will do."""
    if isinstance(error, UserError):
        return str(error), MISUSE
    if isinstance(error, port.Misconfigured):
        return f"the log: {error}", MISUSE
    if isinstance(error, port.LogError):
        return f"the log: {error}", FAULT
    return None


def say(message: str, code: int) -> int:
    """Write one line on standard error and return `code`."""
    sys.stderr.write(f"{PREFIX}{' '.join(message.split())}\n")
    return code
