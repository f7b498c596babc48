"""The ``gradsieve`` command line, generated from the configuration models.

    gradsieve clean      find, verify, publish
    gradsieve compare    which detector, which budget, on labels known to be wrong
    gradsieve trace      which training samples shaped the answers to a recorded run's queries
    gradsieve reproduce  the paper's experiments, its figures beside ours
    gradsieve sql        ask the catalogue
    gradsieve runs       the runs of a lake
    gradsieve versions   list, show, compare, tag, roll back, export, verify, clear away the published versions
    gradsieve show       what one run found
    gradsieve review     answer a run that waits for somebody to look at what it flagged
    gradsieve serve      Prefect's server, a worker and the deployments
    gradsieve watch      tell Prefect when data have changed
    gradsieve maintain   clear old versions away, look whether what is current is whole
    gradsieve index      bring the catalogue up to date by hand

Exit codes: 0 done · 1 an unexpected error · 2 wrong options · 3 unusable input · 4 too many rejected rows
· 5 unusable model · 6 a damaged or missing artefact · 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, CliPositionalArg, CliSubCommand, SettingsConfigDict

from flows.command_line.answers import print_answer
from flows.command_line.flow_commands import CONFIGURATIONS, Clean, Compare, Maintain, Reproduce, Trace
from flows.command_line.options import from_file, opened
from flows.command_line.review import ReviewCommand
from flows.command_line.serve import ServeCommand
from flows.command_line.switches import with_values
from flows.command_line.versions import VersionsCommand
from flows.command_line.watch import WatchCommand
from tasks.core.errors import BadConfig, BadInput, GradsieveError


class _Lake(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")


class Sql(_Lake):
    """Ask the catalogue in SQL. Without a query: a prompt, or what stands in the standard input.

    Views: runs, samples, scores, flags, audit, gradients, checkpoints, metrics, examination, search, rejects; versions,
    decisions, removed, tags, tag_moves; latest.<view> is the same of each dataset's newest run, data.<dataset> its
    samples with their own columns, data."<dataset>@<version or tag>" the rows of a version, shards the gradient
    factors, comparisons what gradsieve compare has measured,
    traced and traces what gradsieve trace has.
    """

    query: CliPositionalArg[str | None] = Field(default=None, description="A SELECT.")
    run: str | None = Field(default=None, description="The run whose gradient shards are read; default: the newest.")
    format: Literal["table", "csv", "json", "parquet"] = Field(
        default="table", description="How the result is written."
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
        if self.format == "parquet" and self.output is None:
            raise BadConfig(
                where="option format", expected="an --output file for parquet", got="none", do="Add --output FILE."
            )
        print_answer(self.lake, self.query, self.format, self.output, self.run, need_run=False)


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
        print(f"{lake / NAME} {'is written anew' if build(lake) else 'is up to date'}")


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
        print(Summary.read(self.lake.expanduser().resolve(), run_id).text())


# ---- the command -------------------------------------------------------------------------------------------------


_COMMANDS = (
    "clean",
    "compare",
    "trace",
    "reproduce",
    "sql",
    "runs",
    "versions",
    "show",
    "review",
    "serve",
    "watch",
    "maintain",
    "index",
)


def application() -> type[BaseSettings]:
    """All commands and their options."""

    class Gradsieve(BaseSettings):
        """Finds the training samples that hurt a model, proves it by retraining, keeps every cleaned dataset."""

        model_config = SettingsConfigDict(
            cli_prog_name="gradsieve",
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_hide_none_type=True,
            # A group is no option: what can be said of it is said by the options in it, or in a file.
            cli_avoid_json=True,
            cli_parse_none_str="null",
        )
        clean: CliSubCommand[opened(Clean)] = Field(description="Find, verify, publish.")  # type: ignore[valid-type]
        compare: CliSubCommand[opened(Compare)] = Field(description="Which detector, which budget?")  # type: ignore[valid-type]
        trace: CliSubCommand[opened(Trace)] = Field(description="Which samples shaped an answer?")  # type: ignore[valid-type]
        reproduce: CliSubCommand[Reproduce] = Field(description="The paper's experiments.")
        sql: CliSubCommand[Sql] = Field(description="Ask the catalogue.")
        runs: CliSubCommand[Runs] = Field(description="The runs of a lake.")
        versions: CliSubCommand[VersionsCommand] = Field(description="The published versions of a lake.")
        show: CliSubCommand[Show] = Field(description="What one run found.")
        review: CliSubCommand[ReviewCommand] = Field(description="Runs that wait for a person.")
        serve: CliSubCommand[ServeCommand] = Field(description="Server, worker and deployments.")
        watch: CliSubCommand[WatchCommand] = Field(description="Tell Prefect when data have changed.")
        maintain: CliSubCommand[opened(Maintain)] = Field(description="Keep a lake in order.")  # type: ignore[valid-type]
        index: CliSubCommand[Index] = Field(description="Bring the catalogue up to date.")

        def cli_cmd(self) -> None:
            CliApp.run_subcommand(self)

    return Gradsieve


def run(gradsieve: type[BaseSettings], arguments: list[str]) -> BaseSettings:
    """Read a command line, and do what it says; what was read."""
    under = from_file(arguments, CONFIGURATIONS)
    return CliApp.run(gradsieve, cli_args=arguments or ["--help"], cli_settings_source=with_values(gradsieve), **under)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        run(application(), arguments)
        sys.stdout.flush()
    except GradsieveError as error:
        print(f"gradsieve: {error}", file=sys.stderr)
        return error.exit_code
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"] if part not in _COMMANDS)
            print(f"gradsieve: option {where or '(all)'}: {problem['msg']}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough. What Python still has to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    except KeyboardInterrupt:
        print("gradsieve: interrupted; what is finished is kept, run again to go on.", file=sys.stderr)
        return 130
    except Exception:  # noqa: BLE001  the last resort: the whole trace, and a code that says so
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
