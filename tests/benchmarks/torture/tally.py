"""What was tried, and what of it was survived."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

# Of failures that are alike so many are printed.
_SHOWN = 12


class Score(NamedTuple):
    """Of one kind of trial."""

    tried: int
    survived: int
    seconds: float
    outcomes: dict[str, int]


class Tally:
    """Counts trials by their kind; whatever was not survived is told at once.

    Args:
        part: of the whole.
        minutes: after which no further trial is begun.
    """

    def __init__(self, part: str, minutes: float = float("inf")) -> None:
        self.part, self.failures = part, list[str]()
        self._until, self.left = time.monotonic() + 60 * minutes, 0
        self._tried, self._survived = Counter[str](), Counter[str]()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._outcomes: dict[str, Counter[str]] = {}
        self._since = time.monotonic()

    def in_time(self, trials: Sequence[T]) -> Iterator[T]:
        """Those there is time for."""
        for number, trial in enumerate(trials):
            if time.monotonic() > self._until:
                self.left += len(trials) - number
                return
            yield trial

    def add(self, kind: str, trial: str, wrong: list[str], outcome: str = "") -> None:
        """One trial of a kind; survived where nothing is wrong."""
        now = time.monotonic()
        self._seconds[kind] += now - self._since
        self._since = now
        self._tried[kind] += 1
        self._survived[kind] += not wrong
        if outcome:
            self._outcomes.setdefault(kind, Counter())[outcome] += 1
        if wrong:
            rest = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
            self.failures.append(f"{self.part} {kind}, {trial}: {'; '.join(wrong[:3])}{rest}")
            if len(self.failures) <= _SHOWN:
                print(f"  {self.failures[-1]}", file=sys.stderr, flush=True)

    def count(self, kind: str, outcomes: dict[str, int]) -> None:
        """What came of a kind of trial besides."""
        self._outcomes.setdefault(kind, Counter()).update(outcomes)

    @property
    def scores(self) -> dict[str, Score]:
        """By kind, in the order they came."""
        return {
            kind: Score(count, self._survived[kind], self._seconds[kind], dict(self._outcomes.get(kind, {})))
            for kind, count in self._tried.items()
        }

    def lines(self) -> list[str]:
        """A table in Markdown."""
        lines = [f"| {self.part} | tried | survived | seconds | outcomes |", "|---|---|---|---|---|"]
        for kind, score in self.scores.items():
            outcomes = ", ".join(f"{name} {count}" for name, count in sorted(score.outcomes.items()))
            lines.append(f"| {kind} | {score.tried} | {score.survived} | {score.seconds:.0f} | {outcomes} |")
        tried, survived = self._tried.total(), self._survived.total()
        lines += [f"| no time for | {self.left} | | | |"] if self.left else []
        return [*lines, f"| **all** | **{tried}** | **{survived}** | {sum(self._seconds.values()):.0f} | |"]
