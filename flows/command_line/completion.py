"""``gradsieve completion``: what a shell offers at the tab key, generated from the command line itself.

The script holds all commands, options and choices, so that a tab starts no Python. ``shell_scripts.py`` writes it.
"""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic_settings import CliPositionalArg

from tasks.core.plugins import Choice

# What stands in braces where an option takes values of several types, and no choice.
_TYPES = re.compile(r"str|int|float|bool|Path|JSON|.*\[.*")


@dataclass
class Command:
    """What may follow a command's words."""

    commands: dict[str, str] = field(default_factory=dict)
    """Name of a command below it → what it is for."""
    options: dict[str, str] = field(default_factory=dict)
    """Option → what it is for."""
    values: dict[str, list[str]] = field(default_factory=dict)
    """Option → what it may be; of one that is not here, a shell offers files."""


class CompletionCommand(BaseModel):
    """Print a script by which bash, zsh or fish completes commands, options and choices at the tab key.

    source <(gradsieve completion bash) in ~/.bashrc, or of zsh in ~/.zshrc; gradsieve completion fish | source in
    ~/.config/fish/config.fish. After an upgrade a new shell offers what is new.
    """

    model_config = ConfigDict(extra="forbid")
    shell: CliPositionalArg[Literal["bash", "zsh", "fish"]]

    def cli_cmd(self) -> None:
        """Print it."""
        from flows.command_line.application import application
        from flows.command_line.shell_scripts import SCRIPTS
        from flows.command_line.switches import with_values

        print(SCRIPTS[self.shell](table(with_values(application()).root_parser)))


def table(parser: ArgumentParser, path: str = "") -> dict[str, Command]:
    """Every command by its words, ``versions list`` for example; the program itself by none."""
    from flows.command_line.flow_commands import CONFIGURATIONS

    command = Command()
    commands = {path: command}
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            for name, below in action.choices.items():
                command.commands[name] = _first_line(helps.get(name) or below.description or "")
                commands |= table(below, f"{path} {name}".strip())
        elif action.help != SUPPRESS:
            names = [name for name in action.option_strings if name.startswith("--")]
            command.options |= dict.fromkeys(names, _first_line(action.help or ""))
            values = _choices(action.metavar)
            command.values |= {name: values for name in names if values}
            command.values |= {name: [] for name in names if action.nargs == 0}
    if path in CONFIGURATIONS:
        lists = dict(_lists(CONFIGURATIONS[path]))
        command.values |= {name: kinds for name, kinds in lists.items() if name in command.options}
    return commands


def _choices(metavar: Any) -> list[str]:
    if not isinstance(metavar, str) or not (metavar.startswith("{") and metavar.endswith("}")):
        return []
    values = metavar[1:-1].split(",")
    return [] if any(not value or _TYPES.fullmatch(value) for value in values) else values


def _lists(model: type[BaseModel], prefix: str = "--") -> Iterator[tuple[str, list[str]]]:
    """Options that take several components, with the kinds there are."""
    for name, about in model.model_fields.items():
        kind, option = about.annotation, f"{prefix}{name.replace('_', '-')}"
        if get_origin(kind) is list and _is(get_args(kind)[0], Choice):
            yield option, list(get_args(kind)[0].registry.components)
        elif _is(kind, BaseModel) and not _is(kind, Choice):
            yield from _lists(kind, f"{option}.")  # pyright: ignore[reportArgumentType]  _is has looked


def _is(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _first_line(words: str) -> str:
    """Of a help text, what fits beside an option."""
    sentence = re.split(r"(?<=[.:;?])\s|\s?\(default|\n", words.strip(), maxsplit=1)[0]
    return sentence.rstrip(".:;")
