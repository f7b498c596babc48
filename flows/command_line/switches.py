"""The words of a command line: ``--x true`` is ``--x``, ``--x false`` is ``--no-x``, and a misspelt option is told."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace, _SubParsersAction
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_settings import BaseSettings, CliSettingsSource

from tasks.core.errors import BadConfig

_VALUES = {"true": True, "false": False}


def with_values(application: type[BaseSettings]) -> CliSettingsSource[Any]:
    """The command line of an application, whose switches may be followed by true or false."""
    return CliSettingsSource(application, case_sensitive=False, parse_args_method=_parse)


def _parse(parser: ArgumentParser, words: Sequence[str], namespace: Any = None) -> Namespace:
    namespace, unknown = parser.parse_known_args(bare(parser, list(words)), namespace)
    if unknown:
        command = _command(parser, list(words))
        names = [name for action in command._actions for name in action.option_strings]
        word = unknown[0].partition("=")[0]
        # Whoever leaves its group out means the first of that name.
        near = [name for name in names if name.endswith(f".{word[2:]}")] or get_close_matches(word, names, 1, 0.7)
        raise BadConfig(
            where="the command line",
            expected=f"options of {command.prog}",
            got=" ".join(unknown),
            do=f"Did you mean {near[0]}?" if near else f"See {command.prog} --help.",
        )
    return namespace


def bare(parser: ArgumentParser, words: list[str]) -> list[str]:
    """The same command line without values after switches; any other word after one is left to the parser.

    Raises:
        BadConfig: behind ``--x=`` stands neither true nor false.
    """
    switches = _switches(parser, words)
    result: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        name, has_value, value = word.partition("=")
        if has_value and name in switches:
            if value.lower() not in _VALUES:
                raise BadConfig(
                    where=f"option {name[2:]}",
                    expected="true or false",
                    got=value or "nothing",
                    do=f"Write {name} true or {name} false.",
                )
            result.append(_bare(name, value))
        elif before in switches and word.lower() in _VALUES:
            result[-1] = _bare(before, word)
        else:
            result.append(word)
    return result


def _bare(name: str, value: str) -> str:
    return name if _VALUES[value.lower()] else f"--no-{name[2:]}"


def _switches(parser: ArgumentParser, words: list[str]) -> set[str]:
    """Names of the switches of the command that the words begin with."""
    actions = [action for action in _command(parser, words)._actions if isinstance(action, BooleanOptionalAction)]
    return {name for action in actions for name in action.option_strings if not name.startswith("--no-")}


def _command(parser: ArgumentParser, words: list[str]) -> ArgumentParser:
    """The parser of the command that the words begin with."""
    for word in words:
        below = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
        if not below or word not in below[0].choices:
            break
        parser = below[0].choices[word]
    return parser
