"""Prefect's records of results, looked at before Prefect reads them: a record is data, and never code.

Prefect keeps a record for each cache key, and each names the serializer it is to be read by: one that says *pickle*
would be unpickled, whatever a step says of its results, and a class that it names would be imported. Whoever may write
to a lake could run code in the next run of somebody else. Records that are not exactly as our steps leave them are
taken for absent, and the stage is computed again.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

_CLASS = "tasks.pipeline.artefacts.Artefact"
SERIALIZER = {
    "type": "json",
    "jsonlib": "json",
    "object_encoder": "prefect.serializers.prefect_json_object_encoder",
    "object_decoder": "prefect.serializers.prefect_json_object_decoder",
    "dumps_kwargs": {},
    "loads_kwargs": {},
}


class Store(Protocol):
    """What is used of Prefect's store of results."""

    result_storage: Any

    def read(self, key: str) -> Any: ...


def record_bytes(store: Store, key: str) -> bytes | None:
    """The record of a key as it lies there; None where there is none. (Prefect's own ``exists`` reads the record.)"""
    try:
        return store.result_storage.read_path(key, _sync=True)
    except (ValueError, FileNotFoundError):  # as Prefect's local storage says it, and as others do
        return None


def is_of_artefacts(content: bytes) -> bool:
    """Whether a record is one that a step of ours has left: an artefact or a list of them, as JSON."""
    try:
        record = json.loads(content)
        result = json.loads(record["result"])
        serializer = record["metadata"]["serializer"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    values = result if isinstance(result, list) else [result]
    return serializer == SERIALIZER and all(_is_artefact(value) for value in values)


def _is_artefact(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__class__") == _CLASS and not _names_code(value.get("data"))


def _names_code(value: Any) -> bool:
    """Whether anything inside would be taken for an object of a class."""
    if isinstance(value, dict):
        return "__class__" in value or "__exc_type__" in value or any(_names_code(item) for item in value.values())
    return isinstance(value, list) and any(_names_code(item) for item in value)
