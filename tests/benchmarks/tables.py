"""The network that gradsieve trains on a table beside gradient-boosted trees on the same split, default options.

python tests/benchmarks/tables.py FOLDER [--seeds 5] [--rows 1000000]

Every ``FOLDER/*.csv`` is read whose name is ``NAME.LABEL.csv``; beside them an adult-like table and a wide one of
``--rows`` rows are generated. The network's accuracy is that of the untouched arm; the trees are scikit-learn's
``HistGradientBoostingClassifier`` on the columns as they came, categories as such.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# pandas' types say less than its columns are.

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier


def adult_like(rows: int, seed: int = 0) -> Any:
    """Skewed numbers, thresholds, categories that interact, missing cells, numbers written for people."""
    draw = np.random.default_rng(seed)
    age, hours = draw.integers(18, 80, rows), draw.normal(40, 12, rows).clip(1, 99).round()
    education = draw.choice(
        ["school", "some college", "bachelor", "master", "doctor"], rows, p=[0.4, 0.25, 0.2, 0.1, 0.05]
    )
    work = draw.choice([f"occupation {i}" for i in range(14)], rows)
    married = draw.random(rows) < 0.45
    gain = np.where(draw.random(rows) < 0.08, draw.lognormal(8, 1, rows), 0).round()
    z = 3.0 * (gain > 5000) + 1.6 * married * (age > 28) + 0.03 * (hours - 40) - 2.4
    z += 1.5 * np.isin(education, ["master", "doctor"]) + np.isin(
        work, ["occupation 1", "occupation 5", "occupation 9"]
    )
    rich = draw.random(rows) < 1 / (1 + np.exp(-2 * z))
    table: Any = pd.DataFrame({"age": age, "hours": hours, "education": education, "occupation": work})
    table["married"] = np.where(married, "yes", "no")
    table["gain"] = [f"${value:,.0f}" for value in gain]
    table.loc[draw.random(rows) < 0.05, "occupation"] = "?"
    table["income"] = np.where(rich, "high", "low")
    return table


def wide(rows: int, seed: int = 0) -> Any:
    """Twenty numbers and two categories."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 20)).astype(np.float32)
    colour = draw.integers(0, 6, rows)
    z = x[:, 0] * (colour % 3 == 0) + np.abs(x[:, 1]) - 0.8 + 0.5 * x[:, 2]
    table: Any = pd.DataFrame(x, columns=[f"x{i}" for i in range(20)])
    table["colour"] = np.array(["red", "green", "blue", "white", "black", "grey"])[colour]
    table["label"] = np.where(draw.random(rows) < 1 / (1 + np.exp(-3 * z)), "yes", "no")
    return table


def network(path: Path, label: str, lake: Path, seeds: int) -> tuple[float, Any, str]:
    """Accuracy of the untouched arm, the samples, and what the summary says of the columns."""
    command = [sys.executable, "-m", "flows", "clean", str(path), "--reader.label", label, "--lake", str(lake)]
    done = subprocess.run([*command, "--verification.seeds", str(seeds)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    run = next((lake / "runs").glob("[!.]*"))
    accuracy = json.loads((run / "run.json").read_text())["accuracy_untouched"]
    with duckdb.connect() as db:
        samples = db.execute(f"SELECT * FROM read_parquet('{run}/samples/*.parquet', union_by_name = true)").df()
        inputs = db.execute(f"SELECT name FROM read_parquet('{run}/columns.parquet') WHERE role = 'input'").fetchall()
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith(("inputs:", "not used"))]
    return accuracy, samples[["split", "label", *(name for (name,) in inputs)]], " ".join(lines)


def trees(samples: Any, seeds: int) -> float:
    """Mean accuracy on the same split; text is a category where it has few values, and left out where it has many.

    The columns are those that the network reads: a row number tells the label of a table that is sorted by it.
    """
    x = samples.drop(columns=["split", "label"]).copy()
    for name in x:
        if x[name].dtype == object or isinstance(x[name].dtype, pd.StringDtype):
            numbers = pd.to_numeric(x[name].str.replace(r"[$,]", "", regex=True), errors="coerce")
            x[name] = numbers if numbers.notna().mean() > 0.9 else x[name].astype("category")
    x = x[[name for name in x if x[name].dtype.name != "category" or x[name].nunique() < 250]]
    train, test = samples["split"] == "train", samples["split"] == "test"
    scores = []
    for seed in range(seeds):
        model = HistGradientBoostingClassifier(random_state=seed, categorical_features="from_dtype")
        scores.append(model.fit(x[train], samples["label"][train]).score(x[test], samples["label"][test]))
    return float(np.mean(scores))


def main() -> None:
    """Print a line for each table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        tables = {path: path.stem.rpartition(".")[2] for path in sorted(arguments.folder.glob("*.*.csv"))}
        for kind, rows, make in (("adult-like", 20_000, adult_like), ("wide", arguments.rows, wide)):
            if rows:
                table = make(rows)
                table.to_csv(work / f"{kind}.csv", index=False)
                tables[work / f"{kind}.csv"] = table.columns[-1]
        for i, (path, label) in enumerate(tables.items()):
            accuracy, samples, told = network(path, label, work / f"lake{i}", arguments.seeds)
            other = trees(samples, arguments.seeds)
            print(
                f"{path.stem}: network {accuracy:.2%}, trees {other:.2%} ({accuracy - other:+.2%}); {told}", flush=True
            )


if __name__ == "__main__":
    main()
