"""What clean and compare begin with: the samples as they came, as a run is about them, and as networks see them."""

from __future__ import annotations

from typing import NamedTuple

from tasks.config import EvidenceConfig
from tasks.core.errors import BadConfig
from tasks.dataset.payload import Payload, payload_of
from tasks.dataset.samples import split_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import SPLITS
from tasks.steps import encode, find_copies, ingest, leave_out_copies


class Source(NamedTuple):
    """A dataset, read."""

    ingested: Artefact
    """As it came."""
    samples: Artefact
    """What the run is about: without the copies that are to be left out."""
    copies: Artefact


class Views(NamedTuple):
    """The samples as a run's steps see them."""

    samples: Artefact
    """What is recorded, reviewed and published."""
    copies: Artefact
    inputs: Artefact
    """As networks receive them: the vectors of a frozen encoder, where the model is one."""
    compared: Artefact
    """As neighbours are looked for."""


def read_samples(run: Run, config: EvidenceConfig, known: Payload | None = None) -> Source:
    """Ingest the source and find its copies.

    Args:
        run: where to write.
        config: of the source, and of copies.
        known: what a base's networks receive, if columns are encoded.
    """
    ingested = ingest(run, config.reader.component, config.ingestion, known)
    copies = find_copies(run, ingested, config.copies)
    left_out = copies.subset(("left_out",))
    return Source(ingested, leave_out_copies(run, ingested, left_out) if left_out.rows else ingested, copies)


def views_of(run: Run, config: EvidenceConfig, source: Source) -> Views:
    """The samples as they are; with an encoder, also as it sees them.

    Raises:
        BadConfig: neighbours are to be looked for in an encoder's space, and the model is none.
    """
    samples, copies = source.samples, source.copies
    model, space = config.model.component, config.neighbours.space
    encoder = model.frozen_encoder(payload_of(samples))
    if encoder is None and space == "encoder":
        raise BadConfig(
            where="option neighbours.space",
            expected="auto or inputs, for the model has no pretrained encoder",
            got="encoder",
            do="Name one by --model.kind encoder --model.weights FOLDER, or leave --neighbours.space away.",
        )
    if encoder is None or (space == "inputs" and not model.is_frozen):
        return Views(samples, copies, split_of(samples, *SPLITS), split_of(samples, *SPLITS))
    features = encode(run, samples, encoder, config.training.device)
    inputs, compared = (features if model.is_frozen else samples), (samples if space == "inputs" else features)
    return Views(samples, copies, split_of(inputs, *SPLITS), split_of(compared, *SPLITS))
