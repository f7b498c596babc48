"""Several signals as one score, weighted by what canaries show."""

from __future__ import annotations

import json
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from tasks.core.errors import BadConfig
from tasks.scoring.canary_evidence import canaries_of
from tasks.scoring.detectors import DETECTORS, Detector, DetectorChoice
from tasks.scoring.evidence import Evidence
from tasks.scoring.fusion_weights import OpinionWeights, Scale, Weights, scales_of, weigh, weigh_opinions

# Weight of all canaries together, where that of all other samples is 1: they are the only labels known to be wrong, and
# too few to outweigh what is believed of the rest.
_CANARY_WEIGHT = 0.2
# How strongly weights are drawn towards one another: enough that of two signals alike neither takes all, and little
# beside what a signal of chance loses by its log loss.
_EVENNESS = 0.03


class Fit(NamedTuple):
    """What the fusion learned."""

    signals: list[str]
    dropped: dict[str, str]
    """Signals that have no part, each with the reason."""
    scale: Scale
    weights: Weights
    concentration: float
    """q"""
    opinions: OpinionWeights

    @property
    def systematic(self) -> float:
        """c"""
        return _systematic(self.concentration)


class Fusion(Detector, kind="fusion"):
    """(1 − c) (w · z + b) + c flow + Σ v u, the log-odds that a label is wrong.

    z       the signals, standardised as they are or with their tails bent, whichever explains with the smaller loss
    w, b    logistic regression, w ≥ 0, of canaries (wrong, each as much as its kind of error is seen:
            tasks/scoring/canary_kinds.py) and all other samples (wrong with the chance that ``expectation_of`` of
            tasks/scoring/wrongness.py gives them), drawn towards equal weights
    c       q³, q how few pairs of classes the noise keeps to (tasks/kernels/transitions.py): 0 where any class is taken
            for any other, 1 where each wrong label is of a class that is taken for one alone
    flow    the detector label_flow, in nats, which knows what each pair of classes is worth
    v u     what each opinion from outside adds, in nats, by how it tells canaries from other samples: nothing where it
            is silent (tasks/scoring/fusion_weights.py)

    Systematic noise misleads whatever learns from it, margins and neighbours alike, and shows in the pairs; scattered
    noise does neither. Of a number, or of more than 2,000 classes, c is 0 and there is no flow; of sets of labels c is
    0 too, for sets that differ in a label are taken for one another whatever the noise. An opinion has learned from no
    label of the run, so that c takes nothing from it. No true label has a part in it.
    """

    sees: ClassVar[tuple[str, ...]] = ("gradients", "probabilities", "votes", "inputs", "dynamics", "canaries")
    apart: ClassVar[bool] = True
    signals: list[str] = Field(
        default=["lissa", "margin", "aum", "neighbours", "label_flow", "boosted_trees"],
        min_length=1,
        description="Kinds of detectors to combine, each with its default options. One that has nothing to say of such "
        "data is left out: boosted_trees of pictures and texts, label_flow of numbers and of more than 2,000 classes.",
    )

    @field_validator("signals")
    @classmethod
    def _check_signals(cls, value: list[str]) -> list[str]:
        unknown = sorted(
            set(value) - set(DETECTORS.components) | {kind for kind in value if kind in ("fusion", "opinion")}
        )
        if unknown or len(set(value)) < len(value):
            raise ValueError(
                "expected different detectors beside fusion and opinion (opinions are heard without being named), got "
                f"{', '.join(unknown or value)}"
            )
        for kind in value:
            DetectorChoice(kind=kind)  # one that needs options of its own is refused here and not after training
        return value

    def fingerprint(self) -> str:
        """The signals are chosen by name, so that no import tells of their code."""
        from tasks.pipeline.cache_keys import code_digest

        parts = [_detector(kind) for kind in sorted({*self.signals, "label_flow"})]
        return json.dumps(
            [[p.model_dump(mode="json"), p.fingerprint(), code_digest([type(p).__module__])] for p in parts]
        )

    @property
    def relative(self) -> bool:
        """Its networks' and neighbours' labels are those that were given."""
        return True

    def score(self, evidence: Evidence) -> np.ndarray:
        """In nats; above 0 where the label is more likely wrong than right."""
        from tasks.scoring.detectors.opinion import opinion_margins

        fit = self._fit_once(evidence)
        outside = fit.opinions.log_odds(opinion_margins(evidence))
        signals = np.stack([_signal(kind, evidence) for kind in fit.signals], 1)
        regression = fit.scale(signals) @ fit.weights.slopes + fit.weights.bias
        if not fit.concentration:
            return regression + outside
        c = fit.systematic
        return (1 - c) * regression + c * _signal("label_flow", evidence) + outside

    def facts(self, evidence: Evidence) -> dict[str, Any]:
        """The weights of the signals and opinions, the signals left out, q, and the scale."""
        fit = self._fit_once(evidence)
        names = [*fit.signals, *(f"opinion {name}" for name in evidence.opinion_names)]
        weights = np.append(fit.weights.slopes, fit.opinions.slopes).round(4).tolist()
        return {
            "weights": dict(zip(names, weights, strict=True)),
            "dropped": fit.dropped,
            "concentration": round(fit.concentration, 4),
            "scale": "straight" if fit.scale.bend is None else "bent",
        }

    def _fit_once(self, evidence: Evidence) -> Fit:
        """The fit, made once whichever of the two evidences is shown, and however often."""
        return evidence.once(f"fit {self.model_dump_json()}", lambda: self._fit(evidence))

    def _fit(self, evidence: Evidence) -> Fit:
        from tasks.scoring.canary_kinds import canary_kinds
        from tasks.scoring.detectors.opinion import opinion_margins
        from tasks.scoring.wrongness import expectation_of, observations_of

        evidence.need_canaries(f"detector {self.name}")
        original, planted = evidence.with_given_labels, canaries_of(evidence)
        reasons = {kind: _detector(kind).why_not(original) for kind in self.signals}
        candidates = [kind for kind, reason in reasons.items() if reason is None]
        columns = {kind: (_signal(kind, original), _signal(kind, planted)) for kind in candidates}
        # What new samples of a run with a base, or canaries of two folds, do not have.
        signals = [kind for kind, both in columns.items() if all(np.isfinite(column).all() for column in both)]
        if not signals:
            raise BadConfig(
                where=f"detector {self.name}, option signals",
                expected="a signal that every sample and every canary has",
                got=f"{', '.join(self.signals)}, which some lack",
                do="Add a held-out signal such as margin, or run without a base and with three folds or more.",
            )
        own, canaries = (np.stack([columns[kind][side] for kind in signals], 1) for side in (0, 1))
        rest = original.in_base.copy()
        rest[original.canary_ranks] = False
        expectation = expectation_of(observations_of(original))[rest]
        # Without the flow there is nothing that q could weigh.
        silent = original.target.kind == "labels" or _detector("label_flow").why_not(original) is not None
        concentration = 0.0 if silent else observations_of(original).concentration
        kinds = canary_kinds(planted, _systematic(concentration))
        fits = [
            (scale, weigh(scale(own[rest]), expectation, scale(canaries), _CANARY_WEIGHT, _EVENNESS, kinds))
            for scale in scales_of(own[original.in_base])
        ]
        scale, weights = min(fits, key=lambda fit: fit[1].loss)
        dropped = {kind: reason or "some samples lack it" for kind, reason in reasons.items() if kind not in signals}
        opinions = weigh_opinions(opinion_margins(original)[rest], opinion_margins(planted))
        return Fit(signals, dropped, scale, weights, concentration, opinions)


def _signal(kind: str, evidence: Evidence) -> np.ndarray:
    return evidence.score(_detector(kind))


def _systematic(concentration: float) -> float:
    return concentration**3


def _detector(kind: str) -> Detector:
    return DetectorChoice(kind=kind).component
