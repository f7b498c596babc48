"""The commands that look into a lake: its catalogue and its runs."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg

from flows.command_line.answers import print_answer
from flows.command_line.random_review import measurement_of
from flows.command_line.stores import look_into_stores
from tasks.core.errors import BadConfig, BadInput, printable

_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}


class _Lake(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")


class Sql(_Lake):
    """Ask the catalogue in SQL. Without a query: a prompt, or what stands in the standard input.

    Views: runs, samples, scores, flags, audit, gradients, checkpoints, metrics, examination, search, rejects; versions,
    decisions, removed, tags, tag_moves; latest.<view> is the same of each dataset's newest run, data.<dataset> its
    samples with their own columns, data."<dataset>@<version or tag>" the rows of a version, shards the gradient
    factors, comparisons what gradsieve compare has measured,
    traced and traces what gradsieve trace has, reviews, review_samples and review_estimates what gradsieve review has.
    """

    query: CliPositionalArg[str | None] = Field(default=None, description="A SELECT.")
    run: str | None = Field(default=None, description="The run whose gradient shards are read; default: the newest.")
    format: Literal["table", "csv", "json", "parquet"] | None = Field(
        default=None, description="How the result is written; default: as the suffix of --output says, else a table."
    )
    output: Path | None = Field(
        default=None, description="File to write to; default: the terminal (parquet needs a file)."
    )

    def cli_cmd(self) -> None:
        """Run the query."""
        if self.query is None:
            from flows.command_line.prompt import prompt

            prompt(self.lake, self.run)
            return
        form = self.format or _FORMATS.get("" if self.output is None else self.output.suffix.lower(), "table")
        if form == "parquet" and self.output is None:
            raise BadConfig(
                where="option format", expected="an --output file for parquet", got="none", do="Add --output FILE."
            )
        print_answer(self.lake, self.query, form, self.output, self.run, need_run=False)


class Runs(_Lake):
    """The runs recorded in a lake, newest first."""

    def cli_cmd(self) -> None:
        """List them."""
        print_answer(
            self.lake,
            """SELECT run_id, recorded, version, verdict, train_samples AS train, rejected, flagged, detector AS "by",
                      round(accuracy_untouched, 4) AS before,
                      round(CASE facts ->> '$.metrics.verdict.arm' WHEN 'relabelled' THEN accuracy_relabelled
                            ELSE accuracy_cleaned END, 4) AS after,
                      round(accuracy_random, 4) AS random
               FROM runs ORDER BY recorded DESC""",
        )


class Index(_Lake):
    """Bring the catalogue up to date by hand: after the lake was moved or copied, or a version came from elsewhere."""

    def cli_cmd(self) -> None:
        """Rebuild it if need be."""
        from tasks.catalogue.database import NAME, build

        lake = self.lake.expanduser().resolve()
        if not lake.is_dir():
            raise BadInput(where=str(lake), expected="a lake", got="no such folder", do="Name it with --lake.")
        is_new = look_into_stores(lake) or build(lake)
        print(f"{lake / NAME} {'is written anew' if is_new else 'is up to date'}")


class Show(_Lake):
    """What one run found."""

    run: CliPositionalArg[str] = Field(description="A run's id, or latest.")

    def cli_cmd(self) -> None:
        """Print its summary."""
        from tasks.catalogue.database import connect
        from tasks.report.summary import Summary

        run_id = self.run
        if run_id == "latest":
            with connect(self.lake) as db:
                run_id = db.execute("SELECT run_id FROM runs ORDER BY recorded DESC LIMIT 1").fetchall()[0][0]
        lake = self.lake.expanduser().resolve()
        print(printable(Summary.read(lake, run_id).text()))
        # By answers alone: where they differ from what the run states of itself, they are to be believed.
        measurement = measurement_of(lake, run_id)
        if measurement is not None:
            print("\nMeasured by a person", textwrap.indent(measurement, "  "), sep="\n")
