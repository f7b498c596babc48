"""What ``gradsieve clean`` holds in memory, stage by stage, above what its libraries take.

    python tests/benchmarks/memory.py rows FOLDER --rows 50000 200000 [--columns 32] [--stop-after 2048]
    python tests/benchmarks/memory.py tables FOLDER [--mib 600] [--most 500] [--formats csv jsonl parquet arrow]

``rows``: a table of numbers through the whole of ``clean`` (logistic model, 2 folds, 2 epochs, 1 seed of each arm).
``tables``: ingest alone of a table of text and numbers in four formats, each file about ``--mib`` large, in a process
that may have ``--most`` MiB of writable memory more than it has after its imports (RLIMIT_DATA).

Each is a process of its own with all libraries imported beforehand. What counts is its anonymous memory (RssAnon), seen
every 5 ms from outside: mapped files are the operating system's to take back. Mapped tasks that run side by side are
each said to take what all take together.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "torch", "torch.func", "sklearn.ensemble", "sklearn.neighbors", "scipy.stats", "scipy.sparse.csgraph", "duckdb",
    "pyarrow.parquet", "pyarrow.dataset", "pyarrow.acero", "pyarrow.csv", "pandas", "prefect", "prefect.artifacts",
    "prefect.task_runners", "matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2",
    "flows.clean", "tasks.steps",
)  # fmt: skip
_EVERY = 0.005


# ---- what is read ------------------------------------------------------------------------------------------------


def numbers(path: Path, rows: int, columns: int) -> Path:
    """A Parquet file of normal draws, float32, whose ten classes are cut from a line through them; a tenth is wrong."""
    import pyarrow.parquet as pq

    writer = None
    weights = np.random.default_rng(1).normal(size=columns)
    for first in range(0, rows, 50_000):
        rng = np.random.default_rng([0, first])
        x = rng.normal(size=(min(50_000, rows - first), columns)).astype(np.float32)
        label = np.clip((x @ weights / np.linalg.norm(weights) + 2.5) * 2, 0, 9).astype(int)
        wrong = rng.random(len(x)) < 0.1
        label[wrong] = rng.integers(0, 10, int(wrong.sum()))
        table = pa.table({f"f{i}": x[:, i] for i in range(columns)} | {"label": [f"c{i}" for i in label]})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return path


def wide(path: Path, mib: int) -> Path:
    """A table of 16 numbers and a kilobyte of text a row, in the format that the suffix says."""
    from pyarrow import csv, ipc
    from pyarrow import parquet as pq

    rng = np.random.default_rng(0)
    words = np.array([f"w{i:x}{rng.integers(1 << 30):x}" for i in range(20_000)])

    def block(first: int) -> pa.Table:
        n = 2048
        x = rng.normal(size=(n, 16))
        note = [" ".join(words[rng.integers(0, len(words), 100)]) for _ in range(n)]
        columns = {f"f{i}": x[:, i] for i in range(16)} | {"note": note, "row": np.arange(first, first + n)}
        return pa.table(columns | {"label": [f"c{int(v > 0)}" for v in x[:, 0]]})

    first, table = 0, block(0)
    with path.open("wb") as sink:
        make = {".csv": csv.CSVWriter, ".parquet": pq.ParquetWriter, ".arrow": ipc.new_file}.get(path.suffix)
        writer: Any = make(sink, table.schema) if make else None
        while sink.tell() < mib << 20:
            if writer is None:
                sink.writelines(json.dumps(row).encode() + b"\n" for row in table.to_pylist())
            else:
                writer.write_table(table)
            first += table.num_rows
            table = block(first)
        if writer is not None:
            writer.close()
    return path


# ---- the process that is watched ---------------------------------------------------------------------------------


def child(log: Path, most: int | None, arguments: list[str]) -> int:
    """Import everything, tell what that took, and run a command whose steps tell when they begin and end."""
    sys.path.insert(0, str(REPOSITORY))
    from flows.command_line import foreground

    foreground.prepare_prefect(Path(arguments[arguments.index("--lake") + 1]), verbose=False)
    for name in LIBRARIES:
        importlib.import_module(name)
    from flows.command_line.application import main
    from tasks import steps

    with log.open("a", buffering=1) as lines:
        for name in steps.__all__:
            if hasattr(task := getattr(steps, name), "fn"):
                task.fn = _told(name, task.fn, lines)
        status = _status(os.getpid())
        if most is not None:
            resource.setrlimit(resource.RLIMIT_DATA, ((status["VmData"] + most) * 1024,) * 2)
        lines.write(json.dumps(["base", time.monotonic(), status["RssAnon"]]) + "\n")
        return main(arguments)


def _told(name: str, function: Any, lines: Any) -> Any:
    import functools

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            lines.write(json.dumps([name, began, time.monotonic()]) + "\n")

    return told


def _status(process: int) -> dict[str, int]:
    """Figures of a process in KiB; none once it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
    return {name: int(value.split()[0]) for name, value in pairs}


# ---- watching ----------------------------------------------------------------------------------------------------


def watched(arguments: list[str], most: int | None = None) -> dict[str, Any]:
    """Run a command in a child; its exit code, seconds, and peaks of memory in MiB above its base by step.

    Args:
        arguments: of ``gradsieve``.
        most: KiB of writable memory that it may have beyond its base.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        options = ["child", str(log), str(most or 0), *arguments]
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, __file__, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        seen: list[tuple[float, int]] = []
        while process.poll() is None:
            if (anonymous := _status(process.pid).get("RssAnon")) is not None:
                seen.append((time.monotonic(), anonymous))
            time.sleep(_EVERY)
        said = process.stderr.read() if process.stderr else ""
        return _figures(log, seen) | {"code": process.returncode, "said": said, "seconds": time.monotonic() - began}


def _figures(log: Path, seen: list[tuple[float, int]]) -> dict[str, Any]:
    times, memory = np.array([at for at, _ in seen]), np.array([kib for _, kib in seen]) / 1024
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    base = next((kib / 1024 for name, _, kib in entries if name == "base"), 0.0)
    began = next((at for name, at, _ in entries if name == "base"), 0.0)
    steps: dict[str, tuple[float, float]] = {}
    for name, first, last in entries:
        inside = memory[(times >= first) & (times <= last)]
        if name != "base" and len(inside):
            peak, seconds = steps.get(name, (0.0, 0.0))
            steps[name] = (max(peak, float(inside.max()) - base), seconds + last - first)
    whole = memory[times >= began]
    return {"base": base, "peak": float(whole.max()) - base if len(whole) else 0.0, "steps": steps}


# ---- tables ------------------------------------------------------------------------------------------------------


def by_rows(folder: Path, rows: list[int], columns: int, most: int | None, options: list[str]) -> None:
    """Print a table of the peaks by step, a column for each number of rows."""
    results = {}
    for n in rows:
        source = numbers(folder / f"numbers-{n}.parquet", n, columns)
        arguments = ["clean", "--reader.path", str(source), "--model.kind", "logistic", "--folds", "2"]
        arguments += ["--training.epochs", "2", "--verification.seeds", "1", "--no-verification.other-remedy"]
        with tempfile.TemporaryDirectory(dir=folder) as lake:
            results[n] = watched([*arguments, *options, "--lake", lake], most and most << 10)
        if results[n]["code"]:
            print(f"{n:,} rows: exit code {results[n]['code']}\n{results[n]['said'][-2000:]}")
    names = list(dict.fromkeys(name for result in results.values() for name in result["steps"]))
    print("step | " + " | ".join(f"{n:,} rows, MiB (s)" for n in results))
    for name in names:
        cells = (result["steps"].get(name) for result in results.values())
        print(f"{name} | " + " | ".join(f"{c[0]:,.0f} ({c[1]:.1f})" if c else "" for c in cells))
    print("whole | " + " | ".join(f"{r['peak']:,.0f} ({r['seconds']:.0f})" for r in results.values()))
    print("base | " + " | ".join(f"{r['base']:,.0f}" for r in results.values()), flush=True)


def by_format(folder: Path, mib: int, most: int, formats: list[str]) -> None:
    """Print a table of ingest's peak by format."""
    print("format | file, MiB | peak above base, MiB | seconds | exit code")
    for suffix in formats:
        source = folder / f"wide-{mib}.{suffix}"
        if not source.exists():
            wide(source, mib)
        with tempfile.TemporaryDirectory(dir=folder) as lake:
            # What comes after ingest is another table's matter.
            arguments = ["clean", "--reader.path", str(source), "--reader.label", "label", "--folds", "2"]
            arguments += ["--model.kind", "logistic", "--training.epochs", "1", "--verification.seeds", "1"]
            result = watched([*arguments, "--lake", lake], most << 10 if most else None)
        peak, seconds = result["steps"].get("ingest", (result["peak"], result["seconds"]))
        size = source.stat().st_size / 2**20
        print(f"{suffix} | {size:,.0f} | {peak:,.0f} | {seconds:.0f} | {result['code']}", flush=True)
        if result["code"]:
            print(result["said"][-1500:])
        print(", ".join(f"{name} {peak:.0f}" for name, (peak, _) in result["steps"].items()), flush=True)


def main() -> int:
    """Measure, and print the table."""
    if sys.argv[1:2] == ["child"]:
        return child(Path(sys.argv[2]), int(sys.argv[3]) or None, sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rows", "tables"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--most", type=int, help="MiB that a process may have beyond its base")
    parser.add_argument("--mib", type=int, default=600)
    parser.add_argument("--formats", nargs="+", default=["csv", "jsonl", "parquet", "arrow"])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of clean")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.what == "rows":
        by_rows(options.folder, options.rows, options.columns, options.most, options.options)
    else:
        by_format(options.folder, options.mib, options.most or 0, options.formats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
