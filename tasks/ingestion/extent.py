"""How much of a source a run reads, and which labels it plants wrong: what makes a trial of a run."""

from __future__ import annotations

from typing import NamedTuple

import yaml

from tasks.ingestion.readers import Noise, Reader, ReaderChoice


class Extent(NamedTuple):
    """The options of a reader that are for trials."""

    limit: int | None
    noise: Noise
    is_own: tuple[bool, bool]
    """Whether limit and noise are the reader's own, which belong to its source."""

    @classmethod
    def of(cls, reader: Reader) -> Extent:
        """Of a run with this reader."""
        fields = type(reader).model_fields
        own = reader.limit == fields["limit"].default, reader.noise == fields["noise"].default
        return cls(reader.limit, reader.noise if reader.noise.share else Noise(), own)

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

    def as_trial_of(self, other: Extent) -> list[str]:
        """What makes a trial of this beside another, in words; empty where nothing does.

        What is the reader's own is none, whatever the other was.
        """
        reasons = []
        if self.limit != other.limit and not self.is_own[0]:
            reasons.append(f"reader.limit is {_rows(self.limit)} and not {_rows(other.limit)}")
        if self.noise != other.noise and not self.is_own[1]:
            reasons.append(f"reader.noise is {_noise(self.noise)} and not {_noise(other.noise)}")
        return reasons


def _rows(limit: int | None) -> str:
    return "none" if limit is None else f"{limit:,}"


def _noise(noise: Noise) -> str:
    if not noise.share:
        return "none"
    exact = ", exact" if noise.exact else ""
    return f"{noise.share:.0%} {noise.kind} (seed {noise.seed}{exact})"
