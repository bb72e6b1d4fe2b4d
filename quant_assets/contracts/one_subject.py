"""What goes wrong with one subject's answer costs that subject alone.

A subject is what one request is about. Whatever is raised while its answer is read, checked or
stored becomes its failure, which is recorded, counted as an attempt and logged with its traceback.
An error that would meet every other subject as well is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from quant_assets.contracts.source import BadAnswer
from quant_assets.reference.errors import BrokenError

A = TypeVar("A")


class UnforeseenAnswerError(BadAnswer):
    """An answer that our own code stumbled over; ``error`` is the cause."""

    def __init__(self, source: str, subject: str, error: Exception) -> None:
        what = f"{type(error).__name__}: {error}".strip(": ")
        super().__init__(
            source,
            f"{source}'s answer for {subject} can't be used: {what}. This was not expected; the "
            "log of the run has the traceback.",
        )
        self.__cause__ = error


def concerns_all(error: Exception) -> bool:
    """Whether an error is of no single subject: a full disk, a warehouse or a file that can't be
    used, and what a test asserts.
    """
    return isinstance(error, BrokenError | OSError | MemoryError | AssertionError)


@contextmanager
def only_for(source: str, subject: str) -> Iterator[None]:
    """Raise what an answer brings about as a SourceError of its subject."""
    try:
        yield
    except Exception as error:
        if concerns_all(error):
            raise
        raise UnforeseenAnswerError(source, subject, error) from error


def each_apart(
    subjects: Sequence[str],
    work: Callable[[Sequence[str]], A],
    failed: Callable[[str, Exception], A],
    raised: Callable[[Exception], bool] = concerns_all,
) -> Iterator[A]:
    """What ``work`` gives for all subjects; where it raises, for each half of them, down to the one
    that is to blame, for which ``failed`` gives it.
    """
    try:
        found = work(subjects)
    except Exception as error:
        if not subjects or raised(error):
            raise
        if len(subjects) > 1:
            middle = len(subjects) // 2
            yield from each_apart(subjects[:middle], work, failed, raised)
            yield from each_apart(subjects[middle:], work, failed, raised)
            return
        found = failed(subjects[0], error)
    yield found
