"""A completion script for each shell, from a table of the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.command_line.completion import Command

# Both shells run it: which commands follow the words typed so far, which options, which values.
_LOOK_UP = """\
# Completion of gradsieve; made by: gradsieve completion {shell}
_gradsieve_commands() {{ case "$1" in
{commands}
esac; }}
_gradsieve_options() {{ case "$1" in
{options}
esac; }}
_gradsieve_values() {{ case "$1 $2" in
{values}
*) return 1 ;;
esac; }}
# Of the words given, those that name a command, and the command below it.
_gradsieve_path() {{
    local found="" word name
    for word in "$@"; do
        for name in $(_gradsieve_commands "$found" | tr '\\n' ' '); do
            if [ "$name" = "$word" ]; then found="${{found:+$found }}$word"; break; fi
        done
    done
    printf '%s' "$found"
}}
"""

_BASH = """\
_gradsieve() {
    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" path words
    if [ "$current" = "=" ]; then current=""; elif [ "$before" = "=" ]; then before="${COMP_WORDS[COMP_CWORD-2]}"; fi
    path="$(_gradsieve_path "${COMP_WORDS[@]:1:COMP_CWORD-1}")"
    COMPREPLY=()
    if words="$(_gradsieve_values "$path" "$before")" && [ -n "$words" ]; then
        :
    elif [[ "$current" == -* ]]; then
        words="$(_gradsieve_options "$path")"
    elif [[ "$before" != --* ]]; then
        words="$(_gradsieve_commands "$path")"
    fi
    if [ -n "$words" ]; then mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"); fi
}
complete -o default -F _gradsieve gradsieve"""

_ZSH = """\
_gradsieve() {
    emulate -L zsh -o sh_word_split
    local before="${words[CURRENT-1]}" current="${words[CURRENT]}" found offered=""
    found="$(_gradsieve_path "${(@)words[2,CURRENT-1]}")"
    offered="$(_gradsieve_values "$found" "$before")"
    if [[ -z "$offered" && "$current" == -* ]]; then
        offered="$(_gradsieve_options "$found")"
    elif [[ -z "$offered" && "$before" != --* ]]; then
        offered="$(_gradsieve_commands "$found")"
    fi
    if [[ -n "$offered" ]]; then compadd -- ${(f)offered}; else _files; fi
}
if ! (( $+functions[compdef] )); then autoload -U compinit && compinit; fi
compdef _gradsieve gradsieve"""

_FISH = """\
# Completion of gradsieve; made by: gradsieve completion fish
function __gradsieve_path
    set -l found
    for word in (commandline -opc)[2..]
        set -l longer (string join -- ' ' $found $word)
        if contains -- $longer $__gradsieve_commands
            set found $longer
        end
    end
    string join -- ' ' $found
end
function __gradsieve_at
    test (__gradsieve_path | string collect; or echo) = "$argv[1]"
end"""


def bash(commands: Mapping[str, Command]) -> str:
    """For ``source <(gradsieve completion bash)``."""
    return _look_up("bash", commands) + _BASH


def zsh(commands: Mapping[str, Command]) -> str:
    """For ``source <(gradsieve completion zsh)``."""
    return _look_up("zsh", commands) + _ZSH


def fish(commands: Mapping[str, Command]) -> str:
    """For ``gradsieve completion fish | source``; fish shows beside each word what it is for."""
    lines = [f"set -g __gradsieve_commands {' '.join(quote(path) for path in commands if path)}", _FISH]
    for path, command in commands.items():
        at = f"complete -c gradsieve -n {quote(f'__gradsieve_at {quote(path)}')}"
        lines += [f"{at} -f -a {name} -d {_fish_quote(words)}" for name, words in command.commands.items()]
        for name, words in command.options.items():
            values = command.values.get(name)
            takes = " -r" if values is None else f" -x -a {quote(' '.join(values))}" if values else ""
            lines.append(f"{at} -l {name[2:]}{takes} -d {_fish_quote(words)}")
    return "\n".join(lines)


def _fish_quote(words: str) -> str:
    escaped = words.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _look_up(shell: str, commands: Mapping[str, Command]) -> str:
    values = [
        (f"{path} {name}", words)
        for path, command in commands.items()
        for name, words in command.values.items()
        if words
    ]
    return _LOOK_UP.format(
        shell=shell,
        commands=_cases((path, list(command.commands)) for path, command in commands.items()),
        options=_cases((path, list(command.options)) for path, command in commands.items()),
        values=_cases(values),
    )


def _cases(lines: Iterable[tuple[str, list[str]]]) -> str:
    return "\n".join(f"{quote(key)}) printf '%s\\n' {' '.join(map(quote, words))} ;;" for key, words in lines if words)


SCRIPTS: dict[str, Callable[[Mapping[str, Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
