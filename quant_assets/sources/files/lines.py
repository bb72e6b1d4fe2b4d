"""The bytes of a text file as lines that Arrow can read: unpacked, in UTF-8, none of them endless.

A byte that is none of its encoding becomes the replacement character, so that it costs the cell it
stands in and not the file.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

PACKED: Mapping[str, str | None] = {"": None, ".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
"""How a file is packed, by the end of its name."""

LONGEST_LINE = 1 << 18
"""Bytes of a line; Arrow reads a million at a time, and refuses a file with a longer one."""

MOST_UNPACKED = 32 << 20
LARGEST_RATIO = 40
"""Bytes that a packed file may become in any case, and how many for each of its own. Prices pack
to a fifth or a tenth; what packs to less than a fortieth is blank."""

SHOWN = 4096
"""Characters kept of a line that can't be read."""

_SLICE = 1 << 16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Lines:
    """Makes whole lines in UTF-8 of pieces of a file; ``overlong`` keeps the beginnings of those
    left out, each with its length. A file of more than ``most_bytes`` is given up.
    """

    encoding: str = "utf-8"
    most_bytes: float = math.inf
    overlong: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        self._begun = b""
        self._left_out = self._bytes = 0

    def __call__(self, piece: bytes) -> bytes:
        """The lines that end in the next piece; an empty one is the last. Raises OSError."""
        data = bytes(piece)
        self._bytes += len(data)
        if self._bytes > self.most_bytes:
            raise OSError(f"it unpacks to more than {LARGEST_RATIO} times its size")
        if not data:
            rest = self._decoded(b"", final=True) + self._begun
            self._begun = b""
            self._end_overlong()
            return _in_utf_8(rest)
        if self.encoding != "utf-8":
            data = self._decoded(data, final=False)
        whole = [self._lines(data[at : at + _SLICE]) for at in range(0, len(data), _SLICE)]
        return _in_utf_8(b"".join(whole))

    def _decoded(self, data: bytes, *, final: bool) -> bytes:
        return b"" if self.encoding == "utf-8" else self._decoder.decode(data, final).encode()

    def _lines(self, data: bytes) -> bytes:
        if self._left_out:
            end = min((at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0), default=-1)
            self._left_out += len(data) if end < 0 else end
            if end < 0:
                return b""
            self._end_overlong()
            data = data[end:]
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        whole, rest = (self._begun + data[:end], data[end:]) if end else (b"", self._begun + data)
        if len(rest) > LONGEST_LINE:
            self.overlong.append((0, rest[:SHOWN].decode("utf-8", "replace")))
            self._left_out, rest = len(rest), b""
        self._begun = rest
        return whole

    def _end_overlong(self) -> None:
        if self._left_out:
            self.overlong[-1] = (self._left_out, self.overlong[-1][1])
        self._left_out = 0


def _in_utf_8(data: bytes) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data


def open_lines(path: Path, suffix: str) -> tuple[pa.NativeFile, Lines]:
    """A file whose name ends with ``suffix`` as a stream for Arrow, and what it leaves out."""
    packed = suffix.endswith(tuple(end for end in PACKED if end))
    most = max(MOST_UNPACKED, LARGEST_RATIO * path.stat().st_size) if packed else math.inf
    lines = Lines(_encoding(path, suffix), most)
    return pa.lib.TransformInputStream(_unpacked(path, suffix), lines), lines


def _unpacked(path: Path, suffix: str) -> pa.NativeFile:
    packed = next((how for end, how in PACKED.items() if end and suffix.endswith(end)), None)
    return pa.input_stream(str(path), compression=packed)


def _encoding(path: Path, suffix: str) -> str:
    """By its mark; without one by the zero bytes that UTF-16 has beside each plain character."""
    with _unpacked(path, suffix) as stream:
        opening = stream.read(256)
    for mark, encoding in _MARKS:
        if opening.startswith(mark):
            return encoding
    even, odd = opening[0::2], opening[1::2]
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if len(opening) > 8 and not any(zeros) and all(others):
            return encoding
    return "utf-8"
