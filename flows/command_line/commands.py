"""The commands, where each is defined, and what ``gradsieve --help`` says of it: a command imports no other's."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from pydantic import BaseModel, create_model

__all__ = ["COMMANDS", "configurations_of"]


class Command(NamedTuple):
    """One command."""

    module: str
    """In this package."""
    model: str
    help: str
    has_configuration: bool = False
    """Whether its options are a configuration's (options.py)."""

    def load(self) -> type[BaseModel]:
        """The model of its options."""
        model: type[BaseModel] = getattr(import_module(f"flows.command_line.{self.module}"), self.model)
        if not self.has_configuration:
            return model
        from flows.command_line.options import with_options

        return with_options(model)  # type: ignore[arg-type]

    def stand_in(self) -> type[BaseModel]:
        """In its place where another command is called: a name among the others, and no options."""
        return create_model(self.model)


COMMANDS = {
    "inspect": Command("inspect", "Inspect", "What would clean make of a source?", has_configuration=True),
    "clean": Command("flow_commands", "Clean", "Find, verify, publish.", has_configuration=True),
    "compare": Command("flow_commands", "Compare", "Which detector, which budget?", has_configuration=True),
    "trace": Command("flow_commands", "Trace", "Which samples shaped an answer?", has_configuration=True),
    "reproduce": Command("flow_commands", "Reproduce", "The paper's experiments."),
    "sql": Command("lake_commands", "Sql", "Ask the catalogue."),
    "runs": Command("lake_commands", "Runs", "The runs of a lake."),
    "versions": Command("versions_command", "VersionsCommand", "The published versions of a lake."),
    "show": Command("lake_commands", "Show", "What one run found."),
    "review": Command("review", "ReviewCommand", "What a person says of a run."),
    "serve": Command("serve", "ServeCommand", "Server, worker and deployments."),
    "watch": Command("watch", "WatchCommand", "Tell Prefect when data have changed."),
    "maintain": Command("flow_commands", "Maintain", "Keep a lake in order.", has_configuration=True),
    "index": Command("lake_commands", "Index", "Bring the catalogue up to date."),
    "completion": Command("completion", "CompletionCommand", "Complete commands at the tab key."),
}


def configurations_of(command: str) -> dict[str, type[BaseModel]]:
    """The configuration that ``--config FILE`` of a command is read as; empty of one that has none."""
    if command not in COMMANDS or COMMANDS[command].module != "flow_commands":
        return {}
    from flows.command_line.flow_commands import CONFIGURATIONS

    return CONFIGURATIONS
