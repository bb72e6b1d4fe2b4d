"""How a process of the UI ends with the one that started it, whatever became of that one.

A pipe from the parent is standard input, and its end is the sign: it comes when the parent closes
it to stop the process, and when the parent is killed. A signal would be lost where a script has
it ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_with_parent() -> Iterator[None]:
    """Interrupt the block, and end the process after it, as soon as standard input ends.

    The process ends without Python's own clearing up, which takes seconds after Dagster.
    """
    ended = threading.Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        threading.Thread(target=_interrupt, args=(ended,), daemon=True).start()
        yield
    finally:
        if ended.is_set():
            os._exit(0)


def _interrupt(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()
    os.kill(os.getpid(), signal.SIGTERM)
