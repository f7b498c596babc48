"""Near copies among many: seconds of one processor, and memory beyond what was there before. A markdown table.

    python tests/benchmarks/copies.py [--sizes 100000,1000000] [--texts 50000,200000] [--vectors 100000]

Made-up inputs, a thousandth of them near copies. ``hashes`` are 64 random bits; ``crowds`` lie within three bits of one
of n/50 centres, as frames of one video do; ``one crowd`` are all equal; ``texts`` have 20 to 120 words drawn by Zipf's
law; ``vectors`` have 256 numbers. Every measurement is a process of its own; its time starts after the imports and the
making of the inputs, and its memory is the largest resident set from then on less the one then. Linux alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from timing import machine

from tasks.ingestion.near_texts import near_texts, shingles_of
from tasks.kernels.near_pairs import Pairs, near_hashes, near_vectors

BITS, COSINE = 4, 0.99


def hashes(n: int, draw: np.random.Generator) -> np.ndarray:
    """n random hashes, of which the last thousandth are copies in which three bits differ."""
    values = draw.integers(0, 1 << 63, n, dtype=np.uint64) << np.uint64(1)
    copies = n // 1000
    values[n - copies :] = values[:copies] ^ np.uint64(0b1011)
    return values


def crowds(n: int, draw: np.random.Generator) -> np.ndarray:
    """n hashes about n/50 centres, up to three bits away."""
    values = draw.choice(hashes(n // 50, draw), n)
    for _ in range(3):
        values ^= np.uint64(1) << draw.integers(0, 64, n, dtype=np.uint64)
    return values


def texts(n: int, draw: np.random.Generator) -> list[str]:
    """n texts, of which the last thousandth are copies with other marks."""
    words = np.array([f"word{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(17_000)])
    weights = 1 / np.arange(1, len(words) + 1)
    lengths = draw.integers(20, 120, n)
    stream = draw.choice(words, int(lengths.sum()), p=weights / weights.sum())
    made = [" ".join(part) for part in np.split(stream, np.cumsum(lengths)[:-1])]
    copies = n // 1000
    return made[: n - copies] + [f"{text.upper()}!" for text in made[:copies]]


def vectors(n: int, draw: np.random.Generator) -> np.ndarray:
    """n vectors of 256 numbers, of which the last thousandth are copies with some noise."""
    x = draw.standard_normal((n, 256), np.float32)
    copies = n // 1000
    x[n - copies :] = x[:copies] + 0.05 * draw.standard_normal((copies, 256), np.float32)
    return x


def measure(kind: str, n: int) -> dict[str, float]:
    """One measurement, in this process."""
    draw = np.random.default_rng(n)
    made = {"hashes": hashes, "crowds": crowds, "texts": texts, "vectors": vectors}.get(kind)
    inputs = np.full(n, 7, np.uint64) if made is None else made(n, draw)
    find(kind, inputs[:100])
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before, start = resident("VmRSS"), time.process_time()
    pairs = find(kind, inputs)
    seconds, peak = time.process_time() - start, resident("VmHWM") - before
    return {"seconds": seconds, "mib": peak / 1024, "pairs": len(pairs.first), "uncompared": pairs.uncompared}


def resident(figure: str) -> int:
    """KiB of this process that are, or at most were, in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(figure))


def find(kind: str, inputs: np.ndarray | list[str]) -> Pairs:
    """The near pairs of some inputs."""
    if isinstance(inputs, list):
        return near_texts(shingles_of((i, (text,)) for i, text in enumerate(inputs)))
    return near_vectors(inputs, COSINE) if kind == "vectors" else near_hashes(inputs, BITS)


def main() -> None:
    """Measure each kind and size in turn."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="100000,1000000", help="numbers of hashes")
    options.add_argument("--texts", default="50000,200000", help="numbers of texts")
    options.add_argument("--vectors", default="100000", help="numbers of vectors")
    options.add_argument("--one", help="kind,size: one measurement, as JSON")
    given = options.parse_args()
    if given.one:
        kind, size = given.one.split(",")
        print(json.dumps(measure(kind, int(size))))
        return
    cases = [(kind, size) for kind in ("hashes", "crowds", "one crowd") for size in given.sizes.split(",")]
    cases += [("texts", size) for size in given.texts.split(",")]
    cases += [("vectors", size) for size in given.vectors.split(",")]
    print("| what | n | CPU seconds | memory, MiB | near pairs | pairs not compared |\n|---|---|---|---|---|---|")
    for kind, size in cases:
        command = [sys.executable, __file__, "--one", f"{kind},{size}"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        figures = f"{found['seconds']:.1f} | {found['mib']:,.0f} | {found['pairs']:,} | {found['uncompared']:,}"
        print(f"| {kind} | {int(size):,} | {figures} |", flush=True)
    about = machine(torch.device("cpu"), 1)
    print(f"\n{', '.join(f'{name} {value}' for name, value in about.items())}")


if __name__ == "__main__":
    main()
