"""The ``gradsieve`` command line, generated from the configuration models.

    gradsieve clean      find, verify, publish
    gradsieve sql        ask the catalogue
    gradsieve runs       the runs of a lake
    gradsieve versions   the published versions of a lake
    gradsieve show       what one run found

Exit codes: 0 done · 1 an unexpected error · 2 wrong options · 3 unusable input · 4 too many rejected rows
· 5 unusable model · 6 a damaged or missing artefact · 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_settings import BaseSettings, CliApp, CliPositionalArg, CliSubCommand, SettingsConfigDict

from tasks.answers import print_answer
from tasks.config import CleanConfig
from tasks.errors import BadConfig, BadInput, GradsieveError
from tasks.parts import Choice, Part

# Formats told by a file's suffix, so that --reader.path alone is enough.
_KINDS_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".npz": "npz",
}


class _Lake(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")


class Sql(_Lake):
    """Ask the catalogue in SQL.

    Views: runs, samples, scores, flags, gradients, metrics, rejects, versions, removed; latest.<view> is the same of
    each dataset's newest run, data.<dataset> its samples with their own columns, and shards the gradient factors.
    """

    query: CliPositionalArg[str] = Field(description="A SELECT.")
    run: str | None = Field(default=None, description="The run whose gradient shards are read; default: the newest.")
    format: Literal["table", "csv", "json", "parquet"] = Field(
        default="table", description="How the result is written."
    )
    output: Path | None = Field(
        default=None, description="File to write to; default: the terminal (parquet needs a file)."
    )

    def cli_cmd(self) -> None:
        """Run the query."""
        if self.format == "parquet" and self.output is None:
            raise BadConfig(
                where="option format", expected="an --output file for parquet", got="none", do="Add --output FILE."
            )
        print_answer(self.lake, self.query, self.format, self.output, self.run)


class Runs(_Lake):
    """The runs recorded in a lake, newest first."""

    def cli_cmd(self) -> None:
        """List them."""
        print_answer(
            self.lake,
            """SELECT run_id, recorded, version, train_samples AS train, rejected, flagged, detector AS "by",
                      round(accuracy_untouched, 4) AS before, round(accuracy_cleaned, 4) AS after,
                      round(accuracy_random, 4) AS random
               FROM runs ORDER BY recorded DESC""",
        )


class Versions(_Lake):
    """The published versions in a lake, newest first."""

    dataset: str | None = Field(default=None, description="Only this dataset's.")

    def cli_cmd(self) -> None:
        """List them."""
        print_answer(
            self.lake,
            """SELECT dataset, version, parent, "rows", removed, run_id, published
               FROM versions WHERE $1 IS NULL OR dataset = $1 ORDER BY published DESC, version DESC""",
            bound=[self.dataset],
        )


class Show(_Lake):
    """What one run found."""

    run: CliPositionalArg[str] = Field(description="A run's id, or latest.")

    def cli_cmd(self) -> None:
        """Print its summary."""
        from tasks.catalogue import connect
        from tasks.summary import Summary

        run_id = self.run
        if run_id == "latest":
            with connect(self.lake) as db:
                run_id = db.execute("SELECT run_id FROM runs ORDER BY recorded DESC LIMIT 1").fetchall()[0][0]
        print(Summary.read(self.lake.expanduser().resolve(), run_id).text())


# ---- clean -------------------------------------------------------------------------------------------------------


class _CleanBase(BaseModel):
    """Find the training samples that hurt a model, prove it by retraining, publish the dataset without them.

    Without options: scikit-learn's digits with a tenth of the training labels flipped. Your own file:
    gradsieve clean --reader.path iris.csv --reader.label species
    """

    model_config = ConfigDict(extra="forbid")
    config: Path | None = Field(
        default=None, description="YAML file of these options; what stands on the line overrides it."
    )
    verbose: bool = Field(default=False, description="Show Prefect's own log.")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Fill in the kind of a part of which only options were given."""
        if isinstance(values, dict):
            for name, field in CleanConfig.model_fields.items():
                choice = _choice(field.annotation)
                given = values.get(name)
                if choice is not None and isinstance(given, dict) and not given.get("kind"):
                    values[name] = given | {"kind": _kind_of(given, choice)}
        return values

    def cli_cmd(self) -> None:
        """Run the flow in this process."""
        given = self.model_dump(mode="json", exclude_unset=True, exclude={"config", "verbose"})
        config = CleanConfig.model_validate(given)
        _prepare_prefect(config.lake, verbose=self.verbose)
        from flows.clean import clean
        from tasks import progress

        def stop(_signal: int, _frame: Any) -> None:
            progress.stop()
            raise KeyboardInterrupt

        # A second signal is Python's own affair again.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        if sys.stderr.isatty() and not self.verbose:
            from tasks.terminal import Bars

            with Bars() as bars:
                progress.show_on(bars)
                text = clean(config)
        else:
            _lines_on_stderr()
            text = clean(config)
        print(text)


def _choice(annotation: Any) -> type[Choice[Any]] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Choice) else None


def _kind_of(given: dict[str, Any], choice: type[Choice[Any]]) -> str:
    if given.get("path") and "csv" in choice.family.parts:
        return _format_of(Path(str(given["path"])).expanduser())
    fitting = [kind for kind, part in choice.family.parts.items() if set(given) <= set(part.model_fields)]
    default = choice.model_fields["kind"].default
    return default if default in fitting or not fitting else fitting[0]


def _format_of(path: Path) -> str:
    """The reader for a path, told by its suffix, or by what a folder holds.

    Raises:
        BadConfig: nothing tells.
    """
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        if any(p.is_dir() for p in inside):
            return "image_folder"
        path = next(iter(inside), path)
    name = path.name.lower().removesuffix(".gz")
    kind = _KINDS_BY_SUFFIX.get(Path(name).suffix)
    if kind is None:
        raise BadConfig(
            where=f"option reader.path {path}",
            expected=f"one of the suffixes {', '.join(_KINDS_BY_SUFFIX)}",
            got=Path(name).suffix or "none",
            do="Say what it is with --reader.kind.",
        )
    return kind


def _clean_command() -> type[_CleanBase]:
    """``CleanConfig`` with every choice of a part opened into the options of all its parts."""
    fields: dict[str, Any] = {}
    for name, field in CleanConfig.model_fields.items():
        choice = _choice(field.annotation)
        if choice is None:
            several = next((c for c in map(_choice, get_args(field.annotation)) if c is not None), None)
            if several is not None:
                field = copy(field)
                field.description = f"{field.description} {_kinds(several, '; ')}."
            fields[name] = (field.annotation, field)
            continue
        default: Part = field.get_default().part
        # The default's part comes last: of options that several parts share, --help shows the last one's defaults.
        parts = (*(p for p in choice.family.parts.values() if p is not type(default)), type(default))
        opened = Annotated[Union[parts], Field(discriminator="kind")] if len(parts) > 1 else parts[0]  # noqa: UP007
        words = f"{field.description}\n  {_kinds(choice, chr(10) + '  ')}"
        fields[name] = (opened, Field(default=default, description=words))
    return create_model("Clean", __base__=_CleanBase, __doc__=_CleanBase.__doc__, **fields)


def _kinds(choice: type[Choice[Any]], between: str) -> str:
    """What there is to choose from, each with the first line of its docstring."""
    parts = choice.family.parts.items()
    return between.join(f"{kind}: {(part.__doc__ or '').strip().splitlines()[0].rstrip('.')}" for kind, part in parts)


def _lines_on_stderr() -> None:
    """Progress as plain lines, for a log."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.getLogger("gradsieve").addHandler(handler)


def _prepare_prefect(lake: Path, *, verbose: bool) -> None:
    """Settings for a run in this process; whatever the environment says already, stands."""
    settings = {
        "PREFECT_LOCAL_STORAGE_PATH": str(lake.expanduser().resolve() / "cache" / "results"),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "gradsieve",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect imports every installed collection (dask, ray) before its temporary server answers.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }
    if not verbose:
        settings |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    # The worker imports a custom model from where the command was given, as python -m does.
    # Last, so that a file of the user's shadows no library.
    sys.path.append(str(Path.cwd()))


# ---- the command -------------------------------------------------------------------------------------------------


def _application() -> type[BaseSettings]:
    class Gradsieve(BaseSettings):
        """Finds the training samples that hurt a model, proves it by retraining, keeps every cleaned dataset."""

        model_config = SettingsConfigDict(
            cli_prog_name="gradsieve", cli_kebab_case=True, cli_implicit_flags=True, cli_hide_none_type=True
        )
        clean: CliSubCommand[_clean_command()] = Field(description="Find, verify, publish.")  # type: ignore[valid-type]
        sql: CliSubCommand[Sql] = Field(description="Ask the catalogue.")
        runs: CliSubCommand[Runs] = Field(description="The runs of a lake.")
        versions: CliSubCommand[Versions] = Field(description="The published versions of a lake.")
        show: CliSubCommand[Show] = Field(description="What one run found.")

        def cli_cmd(self) -> None:
            CliApp.run_subcommand(self)

    return Gradsieve


def _from_file(arguments: list[str]) -> dict[str, Any]:
    """The values of ``--config FILE``, laid under those of the command line."""
    names = [i for i, word in enumerate(arguments) if word == "--config" or word.startswith("--config=")]
    if arguments[:1] != ["clean"] or not names:
        return {}
    word = arguments[names[-1]]
    name = word.partition("=")[2] if "=" in word else (arguments[names[-1] + 1 :] or [""])[0]
    path = Path(name).expanduser()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(
            where=f"--config {path}", expected="a YAML file", got=str(error), do="Check the path and the file."
        ) from error
    if not isinstance(values, dict):
        raise BadInput(where=f"--config {path}", expected="a mapping", got=type(values).__name__, do="See the README.")
    for name, value in list(values.items()):
        if value is None:
            del values[name]  # a key with nothing behind it is the default
            continue
        field = CleanConfig.model_fields.get(name)
        if field is not None and _choice(field.annotation) is not None:
            if not isinstance(value, str | dict):
                raise BadConfig(
                    where=f"--config {path}, {name}",
                    expected="a name, or a mapping with kind and options",
                    got=f"a {type(value).__name__}",
                    do="See the README's example.",
                )
            flat: dict[str, Any] = {"kind": value} if isinstance(value, str) else dict(value)
            options = flat.pop("options", None) or {}
            values[name] = flat | options
    return {"clean": values}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        CliApp.run(_application(), cli_args=arguments or ["--help"], **_from_file(arguments))
        sys.stdout.flush()
    except GradsieveError as error:
        print(f"gradsieve: {error}", file=sys.stderr)
        return error.exit_code
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(
                str(part) for part in problem["loc"] if part not in ("clean", "sql", "runs", "versions", "show")
            )
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
