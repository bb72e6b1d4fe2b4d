"""JSON of a stranger, with every way in which it can't be read as one error."""

from __future__ import annotations

import json
from typing import Any


def read_json(body: bytes | str) -> Any:
    """The value in a body. Raises ValueError, also where it is nested too deeply to be read, or
    has a number of more digits than Python reads.
    """
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
