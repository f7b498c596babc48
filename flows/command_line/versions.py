"""Commands of ``gradsieve versions``: list, show, diff, tag, rollback, export, vacuum."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from tasks.core.errors import BadConfig, BadInput, printable
from tasks.versions.address import objects_of
from tasks.versions.histories import Histories, histories
from tasks.versions.history import CURRENT, History
from tasks.versions.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


class Versions(BaseModel):
    """Base of the commands: which dataset's versions, and where they lie."""

    model_config = ConfigDict(extra="forbid")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    store: Store = None
    dataset: str | None = Field(default=None, description="Whose versions; default: the only one's there are.")

    def histories(self) -> Iterator[History]:
        """Of every dataset that was asked for; what is wrong with where one lies is raised after the last.

        Raises:
            BadInput: there is none.
            BadConfig: a store does not answer.
        """
        asked = self._histories()
        yield from asked.found
        asked.check()

    def _histories(self) -> Histories:
        lake = self.lake.expanduser().resolve()
        where = str(lake / "versions") if self.store is None else self.store
        # To look for versions makes no folder.
        if "://" not in where and not Path(where).expanduser().is_dir():
            raise _nothing(where)
        objects = objects_of(self.store, lake)
        matches = histories(objects, self.dataset)
        if not matches.found and not matches.refusals:
            raise _nothing(objects.where if self.dataset is None else f"{objects.where}, dataset {self.dataset}")
        return matches

    @property
    def history(self) -> History:
        """Of the one dataset that is meant.

        Raises:
            BadConfig: there are several.
        """
        asked = self._histories()
        names = sorted({history.dataset for history in asked.found} | asked.refusals.keys())
        if len(names) > 1:
            raise BadConfig(
                where="option dataset",
                expected=f"one of {', '.join(names)}",
                got="none",
                do="Say whose versions are meant with --dataset.",
            )
        asked.check()
        return asked.found[0]

    def refresh_lake(self, history: History) -> None:
        """Bring up to date what the lake shows of the dataset: its copy of what lies elsewhere, and the catalogue."""
        from tasks.catalogue.database import build
        from tasks.versions.mirror import mirror_now, shows

        lake = self.lake.expanduser().resolve()
        if shows(history, lake):
            mirror_now(history, lake)
            build(lake)


def _nothing(where: str) -> BadInput:
    return BadInput(where=where, expected="a published version", got="none", do="Run gradsieve clean first.")


def say(*what: Any) -> None:
    """Print; as wide as it needs to be in a pipe."""
    is_terminal = Console().is_terminal
    # Names, notes and reasons are somebody's words: brackets in them are no markup.
    console = Console(width=None if is_terminal else 240, soft_wrap=not is_terminal, markup=False)
    console.print(*(printable(each) if isinstance(each, str) else each for each in what))


class List(Versions):
    """The versions, newest first."""

    def cli_cmd(self) -> None:
        """List them."""
        from tasks.report.version_views import version_list

        for history in self.histories():
            say(version_list(history.manifests(), history.tags()))


class Show(Versions):
    """All that one version knows of itself."""

    version: CliPositionalArg[str] = Field(description="v0002, a tag, latest, or a time: 2026-11-25T04:00.")

    def cli_cmd(self) -> None:
        """Print it."""
        from tasks.report.version_views import version_facts

        history = self.history
        say(version_facts(history.resolve(self.version), history.tags(), history))


class Diff(Versions):
    """What changed between two versions: rows removed, relabelled, restored, each with its reason."""

    a: CliPositionalArg[str] = Field(description="The version before: v0001, a tag, a time.")
    b: CliPositionalArg[str] = Field(description="The version after.")
    rows: int = Field(default=20, ge=0, description="Rows of each kind of change that are printed.")
    output: Path | None = Field(
        default=None, description="All rows to a file: .parquet, .csv, .json, or .html with pictures."
    )

    def cli_cmd(self) -> None:
        """Compare them."""
        from tasks.report.version_views import as_page, difference_view
        from tasks.versions.difference import difference

        history = self.history
        changes = difference(history, history.resolve(self.a), history.resolve(self.b))
        if self.output is None:
            say(difference_view(changes, self.rows))
        elif self.output.suffix == ".html":
            _write(self.output, as_page(changes, history))
        else:
            _write_rows(changes.rows, self.output)
        if self.output is not None:
            say(f"{changes.title}: {self.output}")


def _write_rows(rows: pa.Table, path: Path) -> None:
    import duckdb

    with duckdb.connect() as db:
        relation = db.from_arrow(rows)
        writers = {
            ".parquet": lambda: relation.write_parquet(str(path)),
            ".csv": lambda: relation.write_csv(str(path)),
            ".json": lambda: _write(path, "".join(f"{json.dumps(row, default=str)}\n" for row in rows.to_pylist())),
        }
        if path.suffix not in writers:
            raise BadConfig(
                where=f"option output {path}",
                expected=f"a file ending in {', '.join(writers)} or .html",
                got=path.suffix or "no suffix",
                do="Name another.",
            )
        try:
            writers[path.suffix]()
        except duckdb.IOException as error:
            raise _unwritable(path, str(error)) from error


def _unwritable(path: Path, why: str) -> BadConfig:
    return BadConfig(where=f"option output {path}", expected="a file that can be written", got=why, do="Name another.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, str(error)) from error


class Tag(Versions):
    """Point a tag at a version, or show the moves of one."""

    tag: CliPositionalArg[str] = Field(description="current, candidate, or a name of your own.")
    version: str | None = Field(default=None, description="Where it shall point; without it the tag's moves are shown.")
    delete: bool = Field(default=False, description="Point it at nothing.")
    reason: str = Field(default="by hand", description="Why; it is kept with the move.")

    def cli_cmd(self) -> None:
        """Move it."""
        history = self.history
        if self.version is None and not self.delete:
            for move in history.moves(self.tag):
                say(f"{move.at[:19]} {move.version or 'nothing'} by {move.by}: {move.reason}")
            return
        version = None if self.delete or self.version is None else history.resolve(self.version).version
        has_moved = history.move(self.tag, version, getpass.getuser(), self.reason)
        self.refresh_lake(history)
        say(f"{self.tag} {'points' if has_moved else 'pointed already'} at {version or 'nothing'}")


class Rollback(Versions):
    """Go back to an earlier version: a new version with its rows, and the tag current on it. Nothing is deleted."""

    version: CliPositionalArg[str] = Field(description="v0001, a tag, a time.")
    reason: str = Field(default="rolled back by hand", description="Why; it is kept with the move.")

    def cli_cmd(self) -> None:
        """Go back."""
        from tasks.versions.rollback import roll_back

        history = self.history
        manifest = roll_back(history, history.resolve(self.version), getpass.getuser(), self.reason)
        self.refresh_lake(history)
        say(f"{manifest.version} holds the rows of {manifest.rollback_of}, and current points at it")


class Export(Versions):
    """Write a version as files of another kind into a new folder; a catalogue or the hub: versions publish."""

    version: CliPositionalArg[str] = Field(default=CURRENT, description="v0002, a tag, a time; default: current.")
    to: Path = Field(description="The folder, which must not be there yet.")
    form: Literal["parquet", "image_folder", "huggingface", "torch"] = Field(
        default="parquet", description="What is written."
    )

    def cli_cmd(self) -> None:
        """Write it."""
        from tasks.versions.export import export

        history = self.history
        manifest = history.resolve(self.version)
        count = export(history, manifest, self.form, self.to)
        say(f"{count:,} rows of {manifest.dataset} {manifest.version} in {self.to}")


class Vacuum(Versions):
    """Clear old versions away, with the shards and checkpoints of their runs. Only told, unless --no-dry-run."""

    keep: int = Field(default=10, ge=1, description="The newest versions that stay; tagged ones stay besides.")
    dry_run: bool = Field(default=True, description="Only say what would go.")
    grace_hours: float = Field(
        default=24.0, ge=0, description="Files no version names stay so long: a run may be about to name them."
    )

    def cli_cmd(self) -> None:
        """Clear them away."""
        from tasks.versions.vacuum import clear, clearance

        lake = self.lake.expanduser().resolve()
        told: set[Path] = set()
        for history in self.histories():
            removal = clearance(history, lake, self.keep, self.grace_hours, told)
            told |= set(removal.unfinished)
            if not self.dry_run:
                removal = clear(history, lake, removal)
                self.refresh_lake(history)
            names = ", ".join(manifest.version for manifest in removal.versions) or "no version"
            say(
                f"{history.dataset}: {names}, {len(removal.objects):,} objects, {len(removal.files):,} files of runs "
                f"and {len(removal.unfinished):,} unfinished files, "
                f"{removal.size / 1e6:,.1f} MB, {'would go: --no-dry-run' if self.dry_run else 'are gone'}"
            )
