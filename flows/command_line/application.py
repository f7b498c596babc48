"""The ``gradsieve`` command line, generated from the configuration models.

    gradsieve inspect    what clean would make of a source
    gradsieve clean      find, verify, publish
    gradsieve compare    which detector, which budget, on labels known to be wrong
    gradsieve trace      which training samples shaped the answers to a recorded run's queries
    gradsieve reproduce  the paper's experiments, its figures beside ours
    gradsieve sql        ask the catalogue
    gradsieve runs       the runs of a lake
    gradsieve versions   list, show, compare, tag, roll back, export, publish elsewhere, verify, clear away versions
    gradsieve show       what one run found
    gradsieve review     answer a run that waits for somebody to look at what it flagged; measure a recorded run by hand
    gradsieve serve      Prefect's server, a worker and the deployments
    gradsieve watch      tell Prefect when data have changed
    gradsieve maintain   clear old versions away, look whether what is current is whole
    gradsieve index      bring the catalogue up to date by hand
    gradsieve completion what bash, zsh or fish completes at the tab key

Exit codes: 0 done · 1 an unexpected error · 2 wrong options · 3 unusable input · 4 too many rejected rows
· 5 unusable model · 6 a damaged or missing artefact · 7 a disk that is full, read-only or broken · 8 too little memory
· 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import metadata
from io import TextIOWrapper

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, CliToggleFlag, SettingsConfigDict

from flows.command_line.completion import CompletionCommand
from flows.command_line.flow_commands import CONFIGURATIONS, Clean, Compare, Maintain, Reproduce, Trace
from flows.command_line.inspect import Inspect
from flows.command_line.lake_commands import Index, Runs, Show, Sql
from flows.command_line.options import from_file, with_options
from flows.command_line.review import ReviewCommand
from flows.command_line.serve import ServeCommand
from flows.command_line.switches import with_values
from flows.command_line.versions_command import VersionsCommand
from flows.command_line.watch import WatchCommand
from tasks.core.errors import GradsieveError, printable
from tasks.core.system_errors import in_words

_COMMANDS = (
    "inspect",
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
    "completion",
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
        inspect: CliSubCommand[with_options(Inspect)] = Field(description="What would clean make of a source?")  # type: ignore[valid-type]
        clean: CliSubCommand[with_options(Clean)] = Field(description="Find, verify, publish.")  # type: ignore[valid-type]
        compare: CliSubCommand[with_options(Compare)] = Field(description="Which detector, which budget?")  # type: ignore[valid-type]
        trace: CliSubCommand[with_options(Trace)] = Field(description="Which samples shaped an answer?")  # type: ignore[valid-type]
        reproduce: CliSubCommand[Reproduce] = Field(description="The paper's experiments.")
        sql: CliSubCommand[Sql] = Field(description="Ask the catalogue.")
        runs: CliSubCommand[Runs] = Field(description="The runs of a lake.")
        versions: CliSubCommand[VersionsCommand] = Field(description="The published versions of a lake.")
        show: CliSubCommand[Show] = Field(description="What one run found.")
        review: CliSubCommand[ReviewCommand] = Field(description="What a person says of a run.")
        serve: CliSubCommand[ServeCommand] = Field(description="Server, worker and deployments.")
        watch: CliSubCommand[WatchCommand] = Field(description="Tell Prefect when data have changed.")
        maintain: CliSubCommand[with_options(Maintain)] = Field(description="Keep a lake in order.")  # type: ignore[valid-type]
        index: CliSubCommand[Index] = Field(description="Bring the catalogue up to date.")
        completion: CliSubCommand[CompletionCommand] = Field(description="Complete commands at the tab key.")
        version: CliToggleFlag[bool] = Field(default=False, description="Print the version and exit.")

        def cli_cmd(self) -> None:
            if self.version:
                print(f"gradsieve {metadata.version('gradsieve')}")
            else:
                CliApp.run_subcommand(self)

    return Gradsieve


def run(gradsieve: type[BaseSettings], arguments: list[str]) -> BaseSettings:
    """Read a command line, and do what it says; what was read."""
    under = from_file(arguments, CONFIGURATIONS)
    return CliApp.run(gradsieve, cli_args=arguments or ["--help"], cli_settings_source=with_values(gradsieve), **under)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name that the terminal's encoding has no letters for is spelt out, and ends no command.
            stream.reconfigure(errors="backslashreplace")
    try:
        run(application(), arguments)
        sys.stdout.flush()
    except GradsieveError as error:
        print(f"gradsieve: {error}", file=sys.stderr)
        return error.exit_code
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"] if part not in _COMMANDS)
            print(printable(f"gradsieve: option {where or '(all)'}: {problem['msg']}"), file=sys.stderr)
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
    except Exception as error:  # noqa: BLE001  the last resort: the whole trace, and a code that says so
        told = in_words(error)
        if told is not None:
            print(f"gradsieve: {told}", file=sys.stderr)
            return told.exit_code
        traceback.print_exc()
        return 1
    return 0
