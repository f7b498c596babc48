"""How much of a source a run reads, and which labels it plants wrong: what makes a trial of a run."""

from __future__ import annotations

from typing import NamedTuple

import yaml

from tasks.ingestion.readers import Noise, Reader, ReaderChoice


class Extent(NamedTuple):
    """The options of a reader that are for trials."""

    limit: int | None
    noise: Noise
    own: tuple[int | None, Noise]
    """The reader's own limit and noise, which belong to its source."""

    @classmethod
    def of(cls, reader: Reader) -> Extent:
        """Of a run with this reader."""
        fields = type(reader).model_fields
        return cls(reader.limit, _plain(reader.noise), (fields["limit"].default, _plain(fields["noise"].default)))

    @classmethod
    def of_config(cls, text: str | None) -> Extent | None:
        """Of a recorded run, by its config.yaml; None where that does not tell, as of a reader that is gone."""
        try:
            return cls.of(ReaderChoice.model_validate(yaml.safe_load(text or "")["reader"]).component)
        except (ValueError, KeyError, TypeError, yaml.YAMLError):
            return None

    def equals(self, other: Extent) -> bool:
        """Whether both read as much and plant the same."""
        return self[:2] == other[:2]

    def as_trial_of(self, other: Extent | None) -> list[str]:
        """What makes a trial of this beside another, in words; empty where nothing does.

        What is the reader's own is none, whatever the other was. Beside nothing (None) all that is not is one.
        """
        limit, noise = self.own if other is None else other[:2]
        reasons = []
        if self.limit not in (limit, self.own[0]):
            reasons.append(f"reader.limit is {_rows(self.limit)} and not {_rows(limit)}")
        if self.noise not in (noise, self.own[1]):
            reasons.append(f"reader.noise is {_noise(self.noise)} and not {_noise(noise)}")
        return reasons


def _plain(noise: Noise) -> Noise:
    """Noise of which nothing is planted is one, whatever its seed."""
    return noise if noise.share else Noise()


def _rows(limit: int | None) -> str:
    return "none" if limit is None else f"{limit:,}"


def _noise(noise: Noise) -> str:
    if not noise.share:
        return "none"
    exact = ", exact" if noise.exact else ""
    return f"{noise.share:.0%} {noise.kind} (seed {noise.seed}{exact})"
