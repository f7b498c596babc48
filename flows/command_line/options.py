"""A flow's configuration as command-line options: every choice of a component opened into the options of all of them.

A flow's parameters hold a component's options in one free mapping (``tasks/core/plugins.py``). On a command line each
option of each component has its own name and words, a kind may be left out where the other options tell it, and a YAML
file may lie under it all.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Union, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from tasks.core.errors import BadConfig, BadInput, cause_of
from tasks.core.plugins import Choice, Component
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.readers import ReaderChoice


class Options(BaseModel):
    """Base of a command whose options are a configuration's, added by ``with_options``."""

    model_config = ConfigDict(extra="forbid")
    of: ClassVar[type[BaseModel]]
    """The configuration."""
    config: Path | None = Field(
        default=None, description="YAML file of these options; what stands on the line overrides it."
    )
    verbose: bool = Field(default=False, description="Show Prefect's own log.")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Fill in the kind of a component of which only options were given."""
        if isinstance(values, dict):
            _set_path(values)
            for name, field in cls.of.model_fields.items():
                choice = _choice(field.annotation)
                options = values.get(name)
                if choice is not None and isinstance(options, dict) and not options.get("kind"):
                    values[name] = options | {"kind": _kind_of(options, choice)}
        return values

    def configuration(self) -> Any:
        """What was given, as the configuration itself."""
        options = self.model_dump(mode="json", exclude_unset=True, exclude={"config", "verbose", "source"})
        return self.of.model_validate(options)


def _set_path(values: dict[str, Any]) -> None:
    """A bare path is the reader's.

    Raises:
        BadConfig: two paths are given.
    """
    source = values.get("source")
    if source is None:
        return
    reader = values.setdefault("reader", {})
    if reader.get("path") not in (None, source):
        raise BadConfig(
            where=f"{source}, --reader.path {reader['path']}",
            expected="one source",
            got="two",
            do="Leave one of them out.",
        )
    reader["path"] = source


def with_options(command: type[Options]) -> type[Options]:
    """``command`` with the options of its configuration as fields."""
    fields: dict[str, Any] = {}
    for name, field in command.of.model_fields.items():
        if name in command.model_fields:  # the command says itself how it is written
            continue
        choice = _choice(field.annotation)
        if choice is None:
            several = next((c for c in map(_choice, get_args(field.annotation)) if c is not None), None)
            if several is not None:
                field = copy(field)
                field.description = f"{field.description} {_kinds(several, '; ')}."
            fields[name] = (field.annotation, field)
            continue
        default: Component = field.get_default().component
        # The default component comes last: of options that several share, --help shows the last one's defaults.
        components = (*(p for p in choice.registry.components.values() if p is not type(default)), type(default))
        options = Annotated[Union[components], Field(discriminator="kind")] if len(components) > 1 else components[0]  # noqa: UP007
        words = f"{field.description}\n  {_kinds(choice, chr(10) + '  ')}"
        fields[name] = (options, Field(default=default, description=words))
    return create_model(command.__name__, __base__=command, __doc__=command.__doc__, **fields)


def from_file(arguments: list[str], commands: dict[str, type[BaseModel]]) -> dict[str, Any]:
    """The values of ``--config FILE``, to be laid under those of the command line.

    Args:
        arguments: the command line.
        commands: the configuration of each command that has one.

    Raises:
        BadInput: no such file, or no mapping in it.
        BadConfig: a component in it is neither a name nor a mapping.
    """
    names = [i for i, word in enumerate(arguments) if word == "--config" or word.startswith("--config=")]
    configuration = commands.get(arguments[0]) if arguments else None
    if configuration is None or not names:
        return {}
    word = arguments[names[-1]]
    name = word.partition("=")[2] if "=" in word else (arguments[names[-1] + 1 :] or [""])[0]
    path = Path(name).expanduser()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}: {error.problem}" if mark else ""  # type: ignore[union-attr]
        raise BadInput(
            where=f"--config {path}",
            expected="a YAML file",
            got=f"{cause_of(error)}{place}",
            do="Check the path and the file.",
        ) from error
    if not isinstance(values, dict):
        raise BadInput(where=f"--config {path}", expected="a mapping", got=type(values).__name__, do="See the README.")
    for name, value in list(values.items()):
        field = configuration.model_fields.get(name)
        if value is None:
            del values[name]  # a key with nothing behind it is the default
        elif field is not None and _choice(field.annotation) is not None:
            values[name] = _flat(value, f"--config {path}, {name}")
    return {arguments[0]: values}


def _flat(value: Any, where: str) -> dict[str, Any]:
    """A component as a file may write it, as the command line has it: its options beside its kind."""
    if not isinstance(value, str | dict):
        raise BadConfig(
            where=where,
            expected="a name, or a mapping with kind and options",
            got=f"a {type(value).__name__}",
            do="See the README's example.",
        )
    flat: dict[str, Any] = {"kind": value} if isinstance(value, str) else dict(value)
    options = flat.pop("options", None) or {}
    return flat | options


def _choice(annotation: Any) -> type[Choice[Any]] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Choice) else None


def _kinds(choice: type[Choice[Any]], between: str) -> str:
    """What there is to choose from, each with the first line of its docstring."""
    parts = choice.registry.components.items()
    return between.join(f"{kind}: {(part.__doc__ or '').strip().splitlines()[0].rstrip('.')}" for kind, part in parts)


def _kind_of(options: dict[str, Any], choice: type[Choice[Any]]) -> str:
    if options.get("path") and choice is ReaderChoice:
        return kind_of_source(Path(str(options["path"])))
    candidates = [
        kind for kind, component in choice.registry.components.items() if set(options) <= set(component.model_fields)
    ]
    default = choice.model_fields["kind"].default
    return default if default in candidates or not candidates else candidates[0]
