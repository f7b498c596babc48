"""How well wrong labels are found: every detector and budget on the same held-out evidence, against known noise.

    python tests/benchmarks/detection.py cifar10n FOLDER      a folder with CIFAR-10N's labels beside embeddings
    python tests/benchmarks/detection.py fashion FOLDER       Fashion-MNIST's IDX files; nine kinds of planted noise
    python tests/benchmarks/detection.py digits
    python tests/benchmarks/detection.py moons                the paper's half moons: detection, and accuracy trimmed
    python tests/benchmarks/detection.py report               the tables of all that was measured

Each run appends one line of JSON to --results and is skipped when it stands there already. The verbs are called as
plain functions, without Prefect. Nothing here is chosen by true labels: they are only counted against, at the end.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import stats

from tasks.config import CleanConfig
from tasks.dataset.samples import observed_shards, split_of, table_of
from tasks.decision.budgets import Budget, BudgetChoice, Ranking
from tasks.decision.ranking import ranking_of
from tasks.evaluation.experiments.toys import half_moons
from tasks.gradients.extract import extract
from tasks.ingestion.ingest import ingest
from tasks.kernels.ranking import average_precision, precision_at, roc_auc
from tasks.pipeline.artefacts import Run
from tasks.pipeline.recorded_run import reference
from tasks.planning.make_folds import make_folds
from tasks.planning.plan import Plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.evidence import Evidence
from tasks.training.train import train

CLEANLAB = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
QUICK = [
    *("fusion", "label_flow", "margin", "aum", "mean_loss", "el2n", "neighbours", "l1", "l2", "iforest", *CLEANLAB),
    *("gradient_tracing", "datainf", "lissa", "random"),
]
SLOW = ["hessian", "self_influence", "self_lissa"]
BUDGETS = ["canary", {"kind": "canary", "precision": 0.9}, "disagreement", "mixture"]
WITHOUT = {"canaries": {"share": 0.0}, "budget": "share", "detectors": ["l2"]}
CNN = {
    "model": {"kind": "cnn", "width": 8},
    "training": {"epochs": 6, "batch_size": 64},
}


def settings(name: str, folder: Path, seeds: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(what it is, its configuration) of every run of one benchmark."""
    for seed in range(1, seeds + 1):
        common = {"canaries": {"seed": seed}}
        if name == "cifar10n":
            for labels in ("aggre", "worse"):
                reader = {"kind": "parquet", "path": str(folder / "train.parquet"), "label": labels, "test_share": 0.0}
                reader |= {"clean_label": "clean", "features": ["embedding"]}
                recipe = {"epochs": 12, "batch_size": 128, "seed": 1000 * seed}
                config = {"reader": reader, "model": {"kind": "mlp", "hidden": [256], "dropout": 0.3}}
                yield {"set": labels, "seed": seed}, common | config | {"training": recipe}
        elif name == "fashion":
            for kind in ("symmetric", "asymmetric", "instance"):
                for share in (0.1, 0.2, 0.4):
                    reader = {"kind": "idx", "limit": 20_000, "test_share": 0.0}
                    reader |= {f"{part}": str(folder / f"train-{part}-idx{n}-ubyte.gz") for part, n in _IDX}
                    reader["noise"] = {"share": share, "kind": kind, "seed": seed, "exact": True}
                    config = common | CNN | {"reader": reader}
                    config["training"] = CNN["training"] | {"seed": 1000 * seed}
                    yield {"set": f"{kind} {share:.0%}", "seed": seed}, config
        elif name == "digits":
            for share in (0.1, 0.3):
                reader = {"kind": "digits", "noise": {"share": share, "seed": seed, "exact": True}}
                yield (
                    {"set": f"digits {share:.0%}", "seed": seed},
                    common | {"reader": reader, "training": {"epochs": 30, "seed": 1000 * seed}},
                )
        else:
            path = Path(tempfile.mkdtemp()) / "moons.parquet"
            pq.write_table(half_moons(0.15, seed), path)
            noise = {"share": 0.08, "exact": True, "seed": seed}
            reader = {"kind": "parquet", "path": str(path), "split": "split", "noise": noise}
            yield (
                {"set": "half moons", "seed": seed},
                common | MOONS | {"reader": reader, "training": MOONS["training"] | {"seed": 1000 * seed}},
            )


_IDX = (("images", 3), ("labels", 1))
MOONS: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [64]},
    "training": {"epochs": 100, "batch_size": 32, "lr": 0.01},
}


def observe(config: CleanConfig) -> tuple[Evidence, np.ndarray]:
    """The evidence of one run, and which labels are wrong; taken from the lake where it stands there."""
    run = Run.start(config.lake, config.name)
    kept = config.lake / f"observed-{key_of(config)}.json"
    crossfit = CrossFit.model_validate_json(kept.read_bytes()) if kept.exists() else _crossfit(run, config)
    if not kept.exists():
        kept.write_text(crossfit.model_dump_json())
    samples, evidence = crossfit.samples, Evidence(run, crossfit)
    table = table_of(run, samples, ["sample_id", "label", "clean_label"])
    table = table.take(pc.index_in(evidence.ids, value_set=table["sample_id"].combine_chunks()))
    return evidence, pc.not_equal(table["label"], table["clean_label"]).to_numpy()


def key_of(config: CleanConfig) -> str:
    """Digest of what networks and gradients depend on."""
    fields = {"reader", "ingestion", "neighbours", "canaries", "folds", "model", "training", "gradient"}
    content = json.dumps(config.model_dump(mode="json", include=fields), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _crossfit(run: Run, config: CleanConfig) -> CrossFit:
    samples, base = split_of(ingest.fn(run, config.reader.component, config.ingestion), "train"), reference(run, None)
    folds = make_folds.fn(run, samples, config.folds, base)
    votes = vote.fn(run, samples, config.neighbours, config.training.device, folds)
    canaries = (
        plant.fn(run, samples, folds, votes, config.effective_canaries, base)
        if config.effective_canaries.share
        else None
    )
    plan = Plan(folds=folds, canaries=canaries)
    checkpoints = [train.fn(run, samples, plan, [fold], config.recipe, base)[0] for fold in range(config.folds)]
    gradients = [
        extract.fn(run, shard, plan, checkpoints, config.recipe, config.gradient.component, base)
        for shard in observed_shards(samples)
    ]
    return CrossFit(samples=samples, plan=plan, votes=votes, checkpoints=checkpoints, gradients=gradients)


def measure(config: dict[str, Any], kinds: list[str], lake: str, *, plain: bool) -> dict[str, Any]:
    """Figures of one run; ``plain`` asks cleanlab also of networks that no canary was planted in."""
    where = {"lake": lake, "dataset": "bench"}
    evidence, wrong = observe(CleanConfig.model_validate(config | where))
    scores, figures = {}, {}
    for kind in kinds:
        start = time.perf_counter()
        scores[kind] = evidence.score(DetectorChoice(kind=kind).component)
        figures[kind] = detection(scores[kind], wrong) | {"seconds": time.perf_counter() - start}
    ranking = ranking_of(evidence, scores["fusion"])
    found = {part.name: budgeted(part, ranking, wrong) for part in map(_budget, BUDGETS)}
    found["true count"] = counted(scores["fusion"], wrong, int(wrong.sum()))
    found["cleanlab filter"] = flagged(cleanlab_filter(evidence), wrong)
    found["argmax"] = flagged(ranking.predicted != ranking.labels, wrong)
    if plain:
        other, wrong = observe(CleanConfig.model_validate(config | WITHOUT | where))
        for kind in CLEANLAB:
            figures[f"{kind}, no canaries"] = detection(other.score(DetectorChoice(kind=kind).component), wrong)
        found["cleanlab filter, no canaries"] = flagged(cleanlab_filter(other), wrong)
    return {
        "n": len(wrong),
        "noise": float(wrong.mean()),
        "detectors": figures,
        "budgets": found,
        "fusion": DetectorChoice(kind="fusion").component.facts(evidence),
    }


def _budget(choice: Any) -> Budget:
    return BudgetChoice.model_validate(choice).component


def detection(suspicion: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Ranking figures."""
    return {
        "ap": average_precision(suspicion, wrong),
        "auroc": roc_auc(suspicion, wrong),
        "p5": precision_at(suspicion, wrong, round(0.05 * len(wrong))),
    }


def budgeted(budget: Budget, ranking: Ranking, wrong: np.ndarray) -> dict[str, Any]:
    """What a budget states, and what is true."""
    found = budget.find(ranking)
    return counted(ranking.suspicion, wrong, found.count) | {"stated": found.model_dump(mode="json")}


def counted(suspicion: np.ndarray, wrong: np.ndarray, count: int) -> dict[str, Any]:
    """Precision, recall and F1 of the ``count`` most suspect."""
    chosen = np.zeros(len(wrong), bool)
    chosen[np.argsort(-suspicion, kind="stable")[:count]] = True
    return flagged(chosen, wrong)


def flagged(chosen: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Precision, recall and F1 of a set."""
    hits = int((chosen & wrong).sum())
    return {
        "count": int(chosen.sum()),
        "precision": hits / chosen.sum() if chosen.any() else None,
        "recall": hits / wrong.sum(),
        "f1": 2 * hits / (chosen.sum() + wrong.sum()),
    }


def cleanlab_filter(evidence: Evidence) -> np.ndarray:
    """cleanlab's default filter on the same held-out probabilities."""
    from cleanlab.filter import find_label_issues

    return find_label_issues(evidence.labels, evidence.probabilities.astype(np.float64), n_jobs=1)


def report(lines: list[dict[str, Any]]) -> None:
    """Markdown tables of all that was measured: means over seeds, with half the 95 % t interval."""
    sets = list(dict.fromkeys(line["set"] for line in lines))
    by_set = {name: [line for line in lines if line["set"] == name] for name in sets}
    kinds = list(dict.fromkeys(kind for line in lines for kind in line["detectors"]))
    print("average precision\n\n| detector | " + " | ".join(sets) + " |\n|---" * 1 + "|---" * len(sets) + "|")
    for kind in kinds:
        cells = [_mean([run["detectors"][kind]["ap"] for run in by_set[s] if kind in run["detectors"]]) for s in sets]
        print(f"| {kind} | " + " | ".join(cells) + " |")
    print(
        "\n| set | fusion less the best single score, by seed | AUROC, P@5 % of fusion | F1 found / at the true count |"
        " argmax, cleanlab's filter, mixture | asked for 90 %: flagged, true precision by seed |\n"
        "|---|---|---|---|---|---|"
    )
    for name in sets:
        runs = by_set[name]
        lead = [_lead(run) for run in runs]
        fusion = [run["detectors"]["fusion"] for run in runs]
        found, true = ([run["budgets"][b]["f1"] for run in runs] for b in ("canary", "true count"))
        others = [_mean([run["budgets"][b]["f1"] for run in runs]) for b in ("argmax", "cleanlab filter", "mixture")]
        asked = [run["budgets"]["canary_0.9"] for run in runs]
        kept = ", ".join("–" if a["precision"] is None else f"{a['precision']:.3f}" for a in asked)
        print(
            f"| {name} | {', '.join(f'{x:+.4f} ({kind})' for x, kind in lead)} "
            f"| {_mean([f['auroc'] for f in fusion])}, {_mean([f['p5'] for f in fusion])} "
            f"| {np.mean(found) / np.mean(true):.3f} ({_mean(found)}) | {', '.join(others)} "
            f"| {np.mean([a['count'] / run['n'] for a, run in zip(asked, runs, strict=True)]):.1%}; {kept} |"
        )
    asked = [line["budgets"]["canary_0.9"]["precision"] for line in lines]
    kept = [value >= 0.9 for value in asked if value is not None]
    print(f"\nasked for 90 %: kept in {sum(kept)} of {len(kept)} runs that flagged any; {len(asked)} runs in all")


def _lead(run: dict[str, Any]) -> tuple[float, str]:
    single = {k: v["ap"] for k, v in run["detectors"].items() if k != "fusion"}
    best = max(single, key=single.__getitem__)
    return run["detectors"]["fusion"]["ap"] - single[best], best


def _mean(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.3f} ± {half:.3f}"


def main() -> None:
    """Run one benchmark, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["cifar10n", "fashion", "digits", "moons", "report"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("detection.jsonl"))
    parser.add_argument("--lake", type=Path, help="keep networks and gradients here, and take them from here")
    parser.add_argument("--observe", action="store_true", help="only make what --lake keeps")
    asked = parser.parse_args()
    if asked.folder is None and asked.name in ("cifar10n", "fashion"):
        parser.error(f"{asked.name} FOLDER: the folder that holds its files")
    logging.disable(logging.INFO)
    done = [json.loads(line) for line in asked.results.read_text().splitlines()] if asked.results.exists() else []
    if asked.name == "report":
        report(done)
        return
    for what, config in settings(asked.name, asked.folder or Path(), asked.seeds):
        if any((line["set"], line["seed"]) == (what["set"], what["seed"]) for line in done):
            continue
        start = time.perf_counter()
        thorough = asked.name == "cifar10n"
        line = what | {"benchmark": asked.name}
        with tempfile.TemporaryDirectory() as scratch:
            lake = str(asked.lake or scratch)
            if asked.observe:
                for one in [config, *([config | WITHOUT] if thorough else [])]:
                    observe(CleanConfig.model_validate(one | {"lake": lake, "dataset": "bench"}))
                print(what, f"{time.perf_counter() - start:.0f} s", flush=True)
                continue
            line |= measure(config, QUICK + (SLOW if thorough else []), lake, plain=thorough)
        line["seconds"] = time.perf_counter() - start
        with asked.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(
            what, f"{line['seconds']:.0f} s", {k: round(v["ap"], 3) for k, v in line["detectors"].items()}, flush=True
        )


if __name__ == "__main__":
    main()
