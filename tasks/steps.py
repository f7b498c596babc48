"""Every Prefect task, in the data's way: the table of contents, and what a flow imports.

    ingest (→ encode) → find_copies (→ leave_out_copies) → probe → make_folds → vote (→ collect_opinions) → plant →
    train → extract → audit_heldout_labels → score → flag (→ retrain → halve, for each of several budgets)
    (→ draw_question → review) → drift → retrain → verify → record → publish → promote → index → report

and, where detectors are compared, after score:

    measure → tabulate → index → present

and of a recorded run's queries:

    trace → record_traces → index → present_traces
"""

from __future__ import annotations

from tasks.catalogue.index import index
from tasks.decision.drift import drift
from tasks.decision.flag import flag
from tasks.decision.halve import halve
from tasks.decision.review import ask_for_review
from tasks.evaluation.measure import measure
from tasks.evaluation.present import present
from tasks.evaluation.tabulate import tabulate
from tasks.gradients.extract import extract
from tasks.gradients.probe import probe
from tasks.ingestion.collect_opinions import collect_opinions
from tasks.ingestion.encode import encode
from tasks.ingestion.find_copies import find_copies
from tasks.ingestion.ingest import ingest
from tasks.ingestion.leave_out_copies import leave_out_copies
from tasks.pipeline.record import record
from tasks.planning.make_folds import make_folds
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.proof.audit_heldout_labels import audit_heldout_labels
from tasks.proof.retrain import retrain
from tasks.proof.verify import verify
from tasks.report.draw_question import draw_question
from tasks.report.present_traces import present_traces
from tasks.report.report import follow, report
from tasks.scoring.record_traces import record_traces
from tasks.scoring.score import score
from tasks.scoring.trace import trace
from tasks.training.train import train
from tasks.versions.clear_features import clear_features
from tasks.versions.maintain import tidy
from tasks.versions.promote import promote
from tasks.versions.publish import publish
from tasks.versions.verify_runs import verify_runs

__all__ = [
    "ask_for_review",
    "audit_heldout_labels",
    "clear_features",
    "collect_opinions",
    "draw_question",
    "drift",
    "encode",
    "extract",
    "find_copies",
    "flag",
    "follow",
    "halve",
    "index",
    "ingest",
    "leave_out_copies",
    "make_folds",
    "measure",
    "plant",
    "present",
    "present_traces",
    "probe",
    "promote",
    "publish",
    "record",
    "record_traces",
    "report",
    "retrain",
    "score",
    "tabulate",
    "tidy",
    "trace",
    "train",
    "verify",
    "verify_runs",
    "vote",
]  # fmt: skip
