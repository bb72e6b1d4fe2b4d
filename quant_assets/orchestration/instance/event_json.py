"""Short JSON for Dagster's history: what reading fills in again need not be stored."""

from __future__ import annotations

import inspect
import json
from functools import cache
from typing import Any

from dagster_shared.serdes.serdes import _WHITELIST_MAP


def without_empty_fields(text: str) -> str:
    """An object's JSON without spaces, and without empty fields that reading it fills in again."""
    return json.dumps(json.loads(text, object_hook=_filled), separators=(",", ":"))


def _filled(found: dict[str, Any]) -> dict[str, Any]:
    needed = _needed_fields(found["__class__"]) if "__class__" in found else found.keys()
    return {
        name: value
        for name, value in found.items()
        if name in needed or value not in (None, "", [], {})
    }


@cache
def _needed_fields(class_name: str) -> frozenset[str]:
    """Fields of a class whose default is not None, as they are named in its JSON."""
    stored = _WHITELIST_MAP.object_deserializers[class_name]
    return frozenset(
        stored.storage_field_names.get(name, name)
        for name, parameter in inspect.signature(stored.klass).parameters.items()
        if parameter.default is not None
    )
