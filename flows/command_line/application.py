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
from difflib import get_close_matches
from importlib import metadata
from io import TextIOWrapper
from typing import Any

from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, CliToggleFlag, SettingsConfigDict

from flows.command_line.commands import COMMANDS, configurations_of
from flows.command_line.switches import with_values
from tasks.core.errors import GradsieveError, printable
from tasks.core.system_errors import in_words


class _Gradsieve(BaseSettings):
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
    version: CliToggleFlag[bool] = Field(default=False, description="Print the version and exit.")

    def cli_cmd(self) -> None:
        if self.version:
            print(f"gradsieve {metadata.version('gradsieve')}")
        else:
            CliApp.run_subcommand(self)


def application(arguments: list[str] | None = None) -> type[BaseSettings]:
    """All commands and their options; of a command line those of the command it names, and of others their names.

    To import every command takes a second, and to open the options of the flows half of another.
    """
    named = set(COMMANDS) if arguments is None else {word for word in arguments if word in COMMANDS}
    fields: dict[str, Any] = {}
    for name, command in COMMANDS.items():
        model: type[BaseModel] = command.load() if name in named else command.stand_in()
        fields[name] = (CliSubCommand[model], Field(description=command.help))  # type: ignore[valid-type]
    return create_model("Gradsieve", __base__=_Gradsieve, __doc__=_Gradsieve.__doc__, **fields)


def run(gradsieve: type[BaseSettings], arguments: list[str]) -> BaseSettings:
    """Read a command line, and do what it says; what was read."""
    under: dict[str, Any] = {}
    if arguments and (configurations := configurations_of(arguments[0])):
        from flows.command_line.options import from_file

        under = from_file(arguments, configurations)
    return CliApp.run(gradsieve, cli_args=arguments or ["--help"], cli_settings_source=with_values(gradsieve), **under)


def _in_words(problem: ErrorDetails) -> str:
    """A mistake with its option as one types it; of a name that there is none of, its neighbour."""
    from tasks.core.plugins import Choice

    place = problem["loc"]
    command, *parts = map(str, place) if place and place[0] in COMMANDS else ("", *map(str, place))
    model = configurations_of(command).get(command)
    near: list[str] = []
    for depth, part in enumerate(parts):
        if problem["type"] == "extra_forbidden" and model and depth == len(parts) - 1:
            near = get_close_matches(part, list(model.model_fields), 1, 0.7)
        field = model.model_fields.get(part) if model else None
        below = field.annotation if field and isinstance(field.annotation, type) else None
        model = below if below and issubclass(below, BaseModel) else None
        if model and issubclass(model, Choice) and depth + 2 < len(parts):
            del parts[depth + 1]  # the component's kind, whose own options stand below the group
    name = ".".join(part.replace("_", "-") for part in parts) or "(all)"
    return f"option {name}: {problem['msg']}" + (f". Did you mean {near[0]}?" if near else "")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name that the terminal's encoding has no letters for is spelt out, and ends no command.
            stream.reconfigure(errors="backslashreplace")
    try:
        run(application(arguments), arguments)
        sys.stdout.flush()
    except GradsieveError as error:
        print(f"gradsieve: {error}", file=sys.stderr)
        return error.exit_code
    except ValidationError as error:
        for problem in error.errors():
            print(printable(f"gradsieve: {_in_words(problem)}"), file=sys.stderr)
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
