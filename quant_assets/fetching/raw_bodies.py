"""The bodies of responses, kept as they came but for secrets, so that a corrected reader can read
them again.

One file a body, compressed with zstd, named by symbol, time and content; equal bodies of a symbol
are kept once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from quant_assets.reference.secrets import masked_bytes


@dataclass(frozen=True)
class RawBodies:
    """The bodies of one source in a folder, ``<symbol>/<UTC time>-<sha256, first 16>.zst``."""

    folder: Path
    clock: Callable[[], dt.datetime]

    def keep(self, symbol: str, body: bytes) -> None:
        """Keep a body unless the symbol has one of this content already."""
        body = masked_bytes(body)
        content = hashlib.sha256(body).hexdigest()[:16]
        folder = self.folder / symbol
        if any(folder.glob(f"*-{content}.zst")):
            return
        folder.mkdir(parents=True, exist_ok=True)
        at = self.clock().astimezone(dt.UTC)
        path = folder / f"{at:%Y%m%dT%H%M%SZ}-{content}.zst"
        beside = path.with_suffix(".new")
        with pa.output_stream(str(beside), compression="zstd") as file:
            file.write(body)
        beside.replace(path)
