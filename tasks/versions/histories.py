"""The histories of all datasets that a lake or a store knows of, wherever they lie."""

from __future__ import annotations

from typing import NamedTuple

from tasks.core.errors import GradsieveError
from tasks.core.progress import LOGGER
from tasks.versions.address import follow
from tasks.versions.history import History, datasets
from tasks.versions.object_store import Objects


class Histories(NamedTuple):
    """Those that can be asked, and why others cannot: a store that does not answer keeps the others from nothing."""

    found: list[History]
    refusals: dict[str, GradsieveError]
    """Dataset → what is wrong with where its versions lie."""

    def check(self) -> None:
        """Let the first of what is wrong be known, once the others have been seen to."""
        for refusal in self.refusals.values():
            raise refusal


def histories(objects: Objects, dataset: str | None = None) -> Histories:
    """Of every dataset that has versions, or of the one that is named; where a lake remembers them to lie."""
    result = Histories([], {})
    for name in (name for name in datasets(objects) if dataset in (None, name)):
        try:
            history = History(follow(objects, name), name)
            if history.numbers():
                result.found.append(history)
        except GradsieveError as refusal:
            LOGGER.warning("%s: its versions cannot be asked for. %s", name, refusal)
            result.refusals[name] = refusal
    return result
