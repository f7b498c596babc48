"""``gradsieve versions verify`` and ``sign``: whether versions are what was published, and who says so."""

from __future__ import annotations

import getpass
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import CliPositionalArg

from flows.command_line.versions import Versions, say
from tasks.core.errors import BadArtefact, BadConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.versions.check import Check
    from tasks.versions.history import History


class Verify(Versions):
    """Recompute every digest of a version, from raw data to published rows; of all of them those of other runs too."""

    version: CliPositionalArg[str] = Field(default="all", description="v0002, a tag, a time; default: all of them.")

    def cli_cmd(self) -> None:
        """Recompute; exit code 6 if something is wrong."""
        from tasks.versions.chain import Chain
        from tasks.versions.integrity import version_checks
        from tasks.versions.run_checks import Digests, run_checks

        wrong, seen, digests = 0, set[str | None](), Digests()
        lake = self.lake.expanduser().resolve()
        for history in self.histories() if self.version == "all" else [self.history]:
            numbers = history.numbers() if self.version == "all" else [history.number_of(self.version)]
            chain = Chain(history)
            wrong += _say_checks(f"{history.dataset} log", chain.of_all())
            for number in numbers:
                checks = version_checks(history, number, lake, chain, digests)
                wrong += _say_checks(f"{history.dataset} v{number:04d}", checks)
            seen |= _runs_of(history, numbers)
        if self.version == "all":
            others = list(run_checks(lake, self.dataset, seen, digests))
            wrong += _say_checks("runs that no version comes from, and what is made of runs", others) if others else 0
        if wrong:
            raise BadArtefact(
                where="versions",
                expected="every digest as it was recorded",
                got=f"{wrong:,} that differ",
                do="Restore what is named above from a copy, take away what is not of a run, or go back to a version "
                "that is whole.",
            )


def _runs_of(history: History, numbers: list[int]) -> set[str | None]:
    """The runs that versions come from, as far as their manifests can be read; of the others it was said."""
    runs = set[str | None]()
    for number in numbers:
        with suppress(BadArtefact):
            runs.add(history.altered(number).run_id)
    return runs


def _say_checks(title: str, checks: Iterable[Check]) -> int:
    """Print them under a title; how many are wrong."""
    results = list(checks)
    say(title)
    for check in results:
        say(f"  {check.state:8} {check.what}: {check.detail}")
    return sum(check.state == "wrong" for check in results)


class Sign(Versions):
    """Say that all versions and tags are as they should be: a link of the log, signed with the key."""

    reason: str = Field(default="looked at by hand", description="Why; it is kept with the link.")

    def cli_cmd(self) -> None:
        """Add the link."""
        from tasks.versions.seal import SIGNING_KEY, has_key

        if not has_key():
            raise BadConfig(
                where=f"variable {SIGNING_KEY}",
                expected="a key to sign with",
                got="none",
                do=f'export {SIGNING_KEY}="$(openssl rand -hex 32)", and keep it.',
            )
        for history in self.histories():
            history.log.sign(history.newest_name(), getpass.getuser(), self.reason)
            self.refresh_lake(history)
            say(f"{history.dataset}: signed are all {len(history.numbers()):,} versions, and where the tags point")
