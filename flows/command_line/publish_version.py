"""``gradsieve versions publish``: a version into a catalogue or a hub of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from flows.command_line.versions import Versions
from tasks.versions.history import CURRENT

if TYPE_CHECKING:
    from tasks.versions.manifest import Manifest
    from tasks.versions.table_formats import Receipt


class Publish(Versions):
    """Make a version the next snapshot of a table in a catalogue or on the hub; files in a folder: versions export."""

    version: CliPositionalArg[str] = Field(default=CURRENT, description="v0002, a tag, a time; default: current.")
    to: Literal["delta", "hub", "iceberg", "lance"] = Field(
        description="The format. iceberg names the version's own files, the others take a copy of its rows."
    )
    at: str = Field(
        description="Where: a folder; of iceberg also the address of a REST catalogue, or catalog:NAME of one in "
        ".pyiceberg.yaml; of delta and lance also s3://bucket/prefix; of hub the dataset's name, owner/name. A new one "
        "is private."
    )

    def cli_cmd(self) -> None:
        """Publish it."""
        from tasks.versions.table_publication import publish_to

        history = self.history
        manifest = history.resolve(self.version)
        receipt = publish_to(history, manifest, self.to, self.at)
        self.refresh_lake(history)
        for line in _lines(manifest, receipt, self.to):
            print(line)


def _lines(manifest: Manifest, receipt: Receipt, kind: str) -> list[str]:
    """What is told of a publication."""
    counts = f"{manifest.rows:,} rows, {manifest.decisions.rows:,} decisions"
    lines = [f"{manifest.dataset} {manifest.version} ({counts}) at {receipt.place}"]
    for snapshot in receipt.snapshots:
        state = "new" if snapshot.is_new else "there already, nothing was written"
        lines.append(f"  {snapshot.table}: snapshot {snapshot.name}, {state}")
    lines += [f"  {note}" for note in receipt.notes]
    if receipt.refers:
        tag = f"{kind}-{manifest.version}"
        lines.append(f"  it names files of the version, which the tag {tag} keeps from versions vacuum")
    return lines
