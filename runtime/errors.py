"""The errors that decide how a process ends."""


class UserError(Exception):
    """Bad input or configuration: one clear line that says what to change; exit code 2."""
