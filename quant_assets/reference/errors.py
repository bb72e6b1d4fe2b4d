"""Errors that a user can act on: their message is a sentence, and they know their exit code.

    ForeseenError        the command line prints the message, without a traceback
    ├── UsageError       ends with 2: the request or the settings are wrong
    └── BrokenError      ends with 3: the warehouse, a source or a file can't be used

An error class of ours derives from one of the two, besides the built-in error it is a case of. Any
other exception is a bug: it ends with 3 as well, and the message says how to get the traceback.
"""

from __future__ import annotations

from typing import ClassVar


class ForeseenError(Exception):
    """The base of both; ``ends_with`` is the exit code of a command that raises it."""

    # Not named exit_code: the command line takes an error with that attribute for one of Typer's.
    ends_with: ClassVar[int]


class UsageError(ForeseenError):
    ends_with = 2


class BrokenError(ForeseenError):
    ends_with = 3
