"""The paper's experiments: every file is valid, a flow takes its parameters, and the command runs one to its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.__main__ import main
from tasks.config import CleanConfig, CompareConfig
from tasks.core.errors import BadInput
from tasks.evaluation.experiments import Scale, bench_folder, experiment, names
from tasks.evaluation.experiments.generated import GENERATORS, SAMPLERS
from tasks.evaluation.reproduce import _clean_figures
from tasks.evaluation.reproduction import Figure
from tasks.scoring.trace_config import TraceConfig

WANTED = {
    "toy-linear", "half-moons", "cifar10n", "cifar100n", "resnet18", "budget-sweep", "trees-sweep", "glue",
    "llm-sentences", "llm-math", "llm-math-reasoning", "acs-shift", "running-time",
}  # fmt: skip
FLOWS = {"clean": CleanConfig, "compare": CompareConfig}
FOLDERS = {"bench": Path("/bench"), "made": Path("/made")}

TINY = {
    "name": "tiny",
    "title": "digits, hardly trained",
    "measures": ["detection", "accuracy"],
    "paper": {
        "source": "a table",
        "protocol": "its own",
        "rows": [{"method": "isolation forest", "untouched": 90, "figures": {"detection": 96, "accuracy": 96}}],
    },
    "scales": {
        "small": {
            "data": "digits",
            "differs": "everything",
            "seeds": 1,
            "seeded": {"reader.noise.seed": 1, "training.seed": 1000},
            "parameters": {
                "reader": {"kind": "digits", "limit": 120},
                "training": {"epochs": 2},
                "model": "logistic",
                "folds": 2,
                "detectors": ["l2", "random"],
                "budget": {"kind": "share", "share": 0.1},
                "verification": {"seeds": 1},
            },
            "variants": [{"method": "L2"}],
        }
    },
}


def written(folder: Path, **over) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | over))
    return str(path)


def test_every_experiment_of_the_paper_has_its_file():
    assert set(names()) == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_an_experiment_is_valid_and_its_flow_takes_its_parameters(name):
    about = experiment(name)
    assert about.name == name
    for scale in about.scales.values():
        assert scale.made is None or scale.made in {**GENERATORS, **SAMPLERS}
        for variant in scale.variants:
            given = scale.parameters_of(variant, 3, FOLDERS)
            config = FLOWS[about.flow].model_validate(given)
            tracing = scale.tracing_of(variant)
            assert (tracing is None) == (not any(measure.startswith("query_") for measure in about.measures))
            TraceConfig.model_validate(tracing or {})
            assert config.training.seed == 3000
            assert "{" not in yaml.safe_dump(config.reader.options, default_flow_style=False)


def test_the_paper_row_of_the_half_moons_is_the_papers():
    (row,) = [row for row in experiment("half-moons").paper.rows if row.method == "isolation forest"]
    assert row.figures == {"detection": 96, "accuracy": 96}


def test_a_variant_of_another_kind_drops_the_options_of_the_scale():
    scale = Scale.model_validate(
        TINY["scales"]["small"] | {"variants": [{"method": "own", "parameters": {"budget": {"kind": "canary"}}}]}
    )
    given = scale.parameters_of(scale.variants[0], 2, FOLDERS)
    assert given["budget"] == {"kind": "canary"}
    assert (given["reader"]["noise"]["seed"], given["training"]) == (2, {"epochs": 2, "seed": 2000})
    assert scale.parameters["budget"] == {"kind": "share", "share": 0.1}


def test_a_bench_folder_is_taken_from_the_option_or_the_environment_and_looked_into(tmp_path, monkeypatch):
    scale = experiment("cifar10n").scale("small")
    monkeypatch.delenv("GRADSIEVE_BENCH", raising=False)
    with pytest.raises(BadInput, match=r"GRADSIEVE_BENCH: expected .*train.parquet.*, got no folder\. Labels: github"):
        bench_folder(None, "cifar10n", scale)
    monkeypatch.setenv("GRADSIEVE_BENCH", str(tmp_path))
    with pytest.raises(BadInput, match=r"lacks cifar10n-embeddings/train.parquet"):
        bench_folder(None, "cifar10n", scale)
    for file in scale.needs:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert bench_folder(None, "cifar10n", scale) == tmp_path.resolve()


def test_what_is_generated_is_what_it_says_and_the_same_each_time(tmp_path):
    for name in ("hundred", "shift"):
        GENERATORS[name](tmp_path, tmp_path)
        first = (tmp_path / f"{name}.parquet").read_bytes()
        GENERATORS[name](tmp_path, tmp_path)
        assert (tmp_path / f"{name}.parquet").read_bytes() == first
    table = pq.read_table(tmp_path / "hundred.parquet").to_pandas()
    train = table[table.split == "train"]
    assert (train.label != train.clean).mean() == pytest.approx(0.402)
    shifted = pq.read_table(tmp_path / "shift.parquet").to_pandas().groupby("split").x0.mean()
    assert shifted["test"] - shifted["train"] == pytest.approx(1, abs=0.1)


def test_an_interval_is_students():
    figure = Figure.of([1.0, 2.0, 3.0])
    half = 4.302653 / 3**0.5
    np.testing.assert_allclose([figure.mean, figure.low, figure.high], [2, 2 - half, 2 + half], rtol=1e-6)
    assert Figure.of([5.0]) == Figure(mean=5.0)
    assert Figure.of([94.0, 100.0, 100.0]).text(share=True) == "98.0 [89.4, 100.0]"


def test_the_command_lays_our_figures_and_the_controls_beside_the_papers(gradsieve, tmp_path):
    lake = tmp_path / "lake"
    done = gradsieve("reproduce", written(tmp_path), "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    for words in ("isolation forest", "96.0", "ours, small", "untouched", "as many at random", "last"):
        assert words in done.stdout
    kept = json.loads((lake / "reproductions" / "tiny-small.json").read_text())
    theirs, ours = kept["rows"]
    assert (theirs["source"], theirs["figures"]["accuracy"]["mean"]) == ("paper", 96)
    # A tenth of some ninety training samples; a place that a guard frees stays empty.
    assert 6 <= ours["figures"]["removed"]["mean"] <= 10
    assert {"detection", "accuracy", "untouched", "random", "over_random"} <= set(ours["figures"])
    page = (lake / "reproductions" / "tiny-small.md").read_text()
    assert "| isolation forest | paper |" in page
    assert "| L2 | ours, small |" in page
    assert (lake / "reproductions" / "lake" / "runs" / ours["runs"][0]).is_dir()


def test_seconds_have_a_row_for_each_detector(gradsieve, tmp_path):
    lake = tmp_path / "lake"
    path = written(tmp_path, measures=["seconds", "seconds_over_l2", "accuracy"])
    done = gradsieve("reproduce", path, "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads((lake / "reproductions" / "tiny-small.json").read_text())["rows"]}
    assert rows["l2"]["figures"]["seconds_over_l2"]["mean"] == 1
    assert rows["random"]["figures"]["seconds"]["mean"] > 0
    assert "accuracy" in rows["L2"]["figures"]


def test_a_repetition_in_which_nothing_is_flagged_counts_as_one_that_gained_nothing(tmp_path):
    facts = {
        "metrics": {
            "accuracy": dict.fromkeys(("untouched", "cleaned", "random"), 0.9),
            "detection": {},
            "verdict": {"arm": "cleaned"},
        },
        "flags": {"flagged": 0, "detector": "l2"},
    }
    home = tmp_path / "runs" / "r"
    home.mkdir(parents=True)
    (home / "run.json").write_text(
        json.dumps({"run_id": "r", "dataset": "d", "recorded": "2026-01-01", "facts": facts, "stages": []})
    )
    gained = {"accuracy": 90, "untouched": 90, "random": 90, "over_untouched": 0, "over_random": 0}
    assert _clean_figures(tmp_path, "r", ["accuracy"]) == pytest.approx({"removed": 0} | gained)


def test_variants_that_trace_one_run_otherwise_clean_once(gradsieve, tmp_path):
    rng = np.random.default_rng(0)
    kind = np.arange(90) % 6
    x = np.eye(6)[kind] * 3 + rng.normal(size=(90, 6)) * 0.3
    split = np.repeat(["train", "test", "validation"], 30)
    columns = {f"x{i}": x[:, i] for i in range(6)} | {
        "y": (kind % 2).astype(str),
        "kind": kind.astype(str),
        "split": split,
    }
    pq.write_table(pa.table(columns), tmp_path / "kinds.parquet")
    reader = {"kind": "parquet", "path": str(tmp_path / "kinds.parquet"), "label": "y"}
    scale = TINY["scales"]["small"] | {
        "seeded": {"training.seed": 1000},
        "parameters": TINY["scales"]["small"]["parameters"] | {"reader": reader | {"group": "kind", "split": "split"}},
        "tracing": {"top": 5},
        "variants": [{"method": "cosines"}, {"method": "inner products", "tracing": {"cosine": False}}],
    }
    path = written(tmp_path, measures=["query_roc_auc", "query_recall"], scales={"small": scale})
    done = gradsieve("reproduce", path, "--lake", str(tmp_path / "lake"))
    assert done.returncode == 0, done.stderr
    cosines, products = json.loads((tmp_path / "lake" / "reproductions" / "tiny-small.json").read_text())["rows"][1:]
    assert cosines["runs"] == products["runs"]
    assert cosines["figures"]["query_roc_auc"]["mean"] > 80
    assert cosines["figures"] != products["figures"]
    lake = tmp_path / "lake" / "reproductions" / "lake"
    assert (len(list((lake / "runs").glob("*"))), len(list((lake / "traces").glob("*")))) == (1, 2)


def test_an_experiment_may_be_a_comparison(gradsieve, tmp_path):
    scale = TINY["scales"]["small"]
    given = {name: value for name, value in scale["parameters"].items() if name not in ("budget", "verification")}
    given |= {"seeds": 1, "budgets": [{"kind": "share", "share": 0.1}]}
    path = written(
        tmp_path, flow="compare", measures=["roc_auc", "detection"], scales={"small": scale | {"parameters": given}}
    )
    done = gradsieve("reproduce", path, "--lake", str(tmp_path / "lake"), "--seeds", "2")
    assert done.returncode == 0, done.stderr
    ours = json.loads((tmp_path / "lake" / "reproductions" / "tiny-small.json").read_text())["rows"][1]
    assert set(ours["figures"]) == {"roc_auc", "detection"}
    assert ours["figures"]["roc_auc"]["count"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing"], 2, "expected one of acs-shift"),
        (["half-moons", "--scale=huge"], 2, "scale"),
        (["half-moons", "--seeds=0"], 2, "seeds"),
        (["cifar10n"], 3, "cifar-10-100n"),
        (["cifar10n", "--bench=nowhere"], 3, "lacks"),
        (["missing.yaml"], 3, "expected a YAML file"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(tmp_path, capsys, monkeypatch, arguments, code, words):
    monkeypatch.delenv("GRADSIEVE_BENCH", raising=False)
    assert main(["reproduce", *arguments, "--lake", str(tmp_path / "lake")]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "lake").exists()


def test_without_a_name_it_says_which_there_are(capsys):
    assert main(["reproduce"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in WANTED)
