"""Stores: where versions of cleaned datasets are kept, immutably. To add one, add a file here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tasks.artefacts import Artefact, Run
from tasks.parts import Choice, Family, Part


class Store(Part):
    """Base of all stores."""

    kind: Any

    def publish(self, run: Run, dataset: str, samples: Artefact, flags: Artefact) -> Artefact:
        """Make a new version: all samples but the flagged ones, and what was removed and why.

        Nothing of it is visible before all of it is; two publishers at once get two versions.
        """
        raise TypeError(f"{type(self).__name__} must define publish()")


STORES: Family[Store] = Family(__name__, Store)


class StoreChoice(Choice[Store], family=STORES):
    """Where cleaned datasets are published."""

    kind: str = Field(default="parquet", description="parquet: plain Parquet folders under <lake>/versions.")
