"""What an operator can mend: errors of one line each, known to the command line before anything is loaded."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what to do."""


class StartError(Exception):
    """The gateway cannot start; the message is one line that names the key and the fix."""


def file_fault(error: OSError) -> str:
    """What the system said of a file, naming it; one without a name is in the data directory."""
    return f"{error.filename or 'data.dir'}: {error.strerror or error}"
