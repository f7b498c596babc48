"""``gradsieve versions``: its commands in one place."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliSubCommand, get_subcommand

from flows.command_line.publish_version import Publish
from flows.command_line.verify_versions import Sign, Verify
from flows.command_line.versions import Diff, Export, List, Rollback, Show, Tag, Vacuum


class VersionsCommand(BaseModel):
    """The versions of a lake's datasets."""

    model_config = ConfigDict(extra="forbid")
    list: CliSubCommand[List] = Field(description="The versions, newest first.")
    show: CliSubCommand[Show] = Field(description="All that one version knows of itself.")
    diff: CliSubCommand[Diff] = Field(description="What changed between two versions, and why.")
    tag: CliSubCommand[Tag] = Field(description="Point a tag at a version.")
    rollback: CliSubCommand[Rollback] = Field(description="Go back to an earlier version.")
    export: CliSubCommand[Export] = Field(
        description="Files in a new folder: Parquet, image folder, Hugging Face dataset, torch."
    )
    publish: CliSubCommand[Publish] = Field(description="Into a catalogue or hub: Iceberg, Delta, Lance, Hugging Face.")
    verify: CliSubCommand[Verify] = Field(description="Recompute every digest.")
    sign: CliSubCommand[Sign] = Field(description="Sign what is there, with GRADSIEVE_SIGNING_KEY.")
    vacuum: CliSubCommand[Vacuum] = Field(description="Clear old versions away.")

    def cli_cmd(self) -> None:
        """Run the one that was named; of none, list the versions."""
        command: Any = get_subcommand(self, is_required=False) or List()
        command.cli_cmd()
