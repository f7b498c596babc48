"""What is measured of our engine beside its speed against peers': accuracy, shards, and what a GPU does."""

from __future__ import annotations

import copy
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import peers
import pyarrow as pa
import torch
from networks import Subject
from timing import Row, seconds
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tasks.kernels.grams import Gram, ghost_is_cheaper, ghost_squares, strip_rows
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.precision import Precision, loss_scale, running_in
from tasks.kernels.projections import Projection

D = 512
Writer = Callable[[Path, list[pa.RecordBatch]], None]


def accuracy(subject: Subject, n: int) -> Iterator[Row]:
    """Error of norms and of projected gradients against float64 (torch.func on a float64 copy)."""
    few = subject.of(n)
    projection = Projection("kronecker", D, 0, few.x.device)
    x = few.x.double() if few.x.is_floating_point() else few.x
    exact = few._replace(network=copy.deepcopy(few.network).double(), x=x, chunk=2)
    sketch, norms = peers.projected(projection), peers.squares
    both = peers.by_vmap(exact, lambda g: torch.cat([sketch(g), norms(g).unsqueeze(1)], 1))()
    expected, expected_norms = both[:, :-1], both[:, -1].sqrt()
    for precision in ("fp32", "bf16", "fp16"):
        try:
            projected, norm = _errors(few, projection, precision, expected, expected_norms)
        except RuntimeError as error:
            yield Row("error against float64", subject.name, precision, note=f"RuntimeError: {error}")
            continue
        for what, errors in (("norm", norm), ("projected", projected)):
            of = "|‖g‖ − ‖g₆₄‖| / ‖g₆₄‖" if what == "norm" else "‖Rg − Rg₆₄‖ / ‖Rg₆₄‖"
            note = f"median of {of}; largest of {n} samples: {float(errors.max()):.1e}"
            yield Row("error against float64", subject.name, f"{precision}, {what}", float(errors.median()), note=note)


def _errors(
    few: Subject, projection: Projection, precision: Precision, expected: torch.Tensor, norms: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    taker = LayerGradientTaker(few.network, few.layers, few.x[:2])
    with running_in(precision, few.x.device):
        taken = taker.take(few.x, few.labels, Loss(), projection, loss_scale(precision))
    found = taken.squares.double().sum(1).sqrt()
    projected = (taken.gradient.double() - expected).norm(dim=1) / expected.norm(dim=1)
    return projected, ((found - norms) / norms).abs()


# ---- routes ----------------------------------------------------------------------------------------------------------

# o, i, t of a head, of LoRA's factors, and of Linear layers.
SHAPES = (
    (10, 512, 32), (8, 384, 32), (8, 384, 48), (8, 4096, 96), (64, 576, 64), (256, 512, 96), (768, 768, 128),
    (768, 768, 512), (3072, 768, 128), (3072, 768, 512), (3072, 768, 1024),
)  # fmt: skip


def routes(device: torch.device, turns: int) -> Iterator[Row]:
    """Exact norms of a Linear layer: the way that is taken over the faster one, by CPU seconds, least of ``turns``."""
    for o, i, t in SHAPES:
        n = max(2, min(64, (1 << 22) // (t * (o + i))))
        delta, inputs = (torch.randn(n, t, width, device=device) for width in (o, i))

        def ghost(delta: torch.Tensor = delta, inputs: torch.Tensor = inputs) -> torch.Tensor:
            return ghost_squares(delta, Gram().strips(inputs))

        def built(delta: torch.Tensor = delta, inputs: torch.Tensor = inputs, size: int = o * i) -> torch.Tensor:
            parts = zip(*(side.split(max(1, (1 << 21) // size)) for side in (delta, inputs)), strict=True)
            return torch.cat([(d.transpose(1, 2) @ a).square().sum((1, 2)) for d, a in parts])

        best = [9e9, 9e9]
        for _ in range(turns):
            for place, way in enumerate((ghost, built)):
                best[place] = min(best[place], _cpu_seconds(way, device))
        taken = best[0 if ghost_is_cheaper(t, o, i, strip_rows(t, device)) else 1]
        note = f"ghost {1000 * best[0]:.1f} ms, built {1000 * best[1]:.1f} ms, {n} samples"
        ratio = taken / min(best)
        yield Row("taken / faster route", f"{o} × {i}, t {t}", "exact norms", ratio, "≤ 1.1", ratio <= 1.1, note=note)


def _cpu_seconds(way: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        return seconds(way, device)[0]
    began = time.process_time()
    way()
    return time.process_time() - began


# ---- shards ----------------------------------------------------------------------------------------------------------


def write_ipc(path: Path, batches: list[pa.RecordBatch]) -> None:
    """The writer that is measured: an Arrow IPC file of record batches."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def shards(write: Writer, count: int, turns: int) -> Iterator[Row]:
    """Bytes/s of a shard of ``count`` batches (1024 × 512 float32 and a string id) against plain write() of as many."""
    values = pa.array(np.random.default_rng(0).standard_normal(1024 * D, dtype=np.float32))
    gradient = pa.FixedSizeListArray.from_arrays(values, D)
    columns = {"sample_id": pa.array([f"sample-{i:08d}" for i in range(1024)]), "gradient": gradient}
    batch = pa.RecordBatch.from_pydict(columns)
    block = np.asarray(values).tobytes()
    rates: dict[str, list[float]] = {"shard": [], "raw": []}
    with tempfile.TemporaryDirectory(prefix="gradsieve-bench-") as folder:
        for _ in range(turns):
            for name, taken in rates.items():
                path = Path(folder) / name
                start = time.perf_counter()
                if name == "raw":
                    with path.open("wb", buffering=0) as file:
                        for _ in range(count):
                            file.write(block)
                else:
                    write(path, [batch] * count)
                _to_disk(path)
                taken.append(path.stat().st_size / (time.perf_counter() - start))
                path.unlink()
    ours, raw = (float(np.median(taken)) for taken in rates.values())
    note = (
        f"{ours / 2**20:,.0f} against {raw / 2**20:,.0f} MiB/s, {count * len(block) / 2**20:,.0f} MiB, fsync included"
    )
    yield Row(
        "shard / raw write",
        "",
        "Arrow IPC",
        ours / raw,
        "≥ 0.8",
        ours >= 0.8 * raw,
        ours / (4 * D),
        f"{turns}×, median",
        note,
    )


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


# ---- a GPU -----------------------------------------------------------------------------------------------------------


class _Traffic(TorchDispatchMode):
    """Bytes that operators read and write, each on its own: what an engine without fusion moves."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        # Views move nothing: their schema says that what they return is an argument, unchanged.
        if not any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
            touched = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
            self.bytes += sum(leaf.numel() * leaf.element_size() for leaf in touched)
        return out


def peaks(device: torch.device) -> tuple[float, float]:
    """(float32 FLOP/s of a large matrix product, bytes/s read and written by a large copy)."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    source = torch.empty(1 << (28 if device.type == "cuda" else 24), device=device)
    target = torch.empty_like(source)
    best = [float("inf"), float("inf")]
    for _ in range(6):
        for place, call in enumerate((lambda: torch.mm(a, b), lambda: target.copy_(source))):
            best[place] = min(best[place], seconds(call, device)[0])
    return 2 * size**3 / best[0], 2 * 4 * source.numel() / best[1]


def shares(subject: Subject, projection: Projection, duration: float, peak: tuple[float, float]) -> Row:
    """Share of the peak rates that a take of ``duration`` seconds reaches."""
    from torch.utils.flop_counter import FlopCounterMode

    taker = LayerGradientTaker(subject.network, subject.layers, subject.x[:2])
    with FlopCounterMode(display=False) as counted:
        taker.take(subject.x, subject.labels, Loss(), projection)
    with _Traffic() as traffic:
        taker.take(subject.x, subject.labels, Loss(), projection)
    flops, moved = counted.get_total_flops() / duration, traffic.bytes / duration
    note = f"{flops / 1e9:,.0f} of {peak[0] / 1e9:,.0f} GFLOP/s; {moved / 1e9:,.1f} of {peak[1] / 1e9:,.1f} GB/s"
    note += f" ({moved / peak[1]:.0%}; by operators' operands, caches not seen)"
    return Row("share of peak FLOP/s", subject.name, "layers", flops / peak[0], note=note)


def waits(subject: Subject, projection: Projection) -> Row:
    """Whether take() makes the host wait for the GPU, by torch's own watch and by the profiler."""
    from torch.profiler import ProfilerActivity, profile, record_function

    taker = LayerGradientTaker(subject.network, subject.layers, subject.x[:2])
    for _ in range(2):  # the projection's matrices are drawn on the host and copied the first time
        taker.take(subject.x, subject.labels, Loss(), projection)
    torch.cuda.synchronize()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            taker.take(subject.x, subject.labels, Loss(), projection)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    told = [str(w.message) for w in warned if "synchroniz" in str(w.message)]
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen, record_function("take"):
        taker.take(subject.x, subject.labels, Loss(), projection)
    events = list(seen.events() or [])
    inside = next(e.time_range for e in events if e.name == "take" and e.device_type.name == "CPU")
    calls = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
    # Copies back are told by the device's own events, which may run late: their names count wherever they are.
    found = [e.name for e in events if e.name in calls and inside.start <= e.time_range.start <= inside.end]
    found += [e.name for e in events if "Memcpy DtoH" in e.name]
    note = f"torch: {len(told)} warnings; profiler: {', '.join(sorted(set(found))) or 'none'}"
    return Row(
        "host waits in take()", subject.name, "layers", len(found) + len(told), "0", not (found or told), note=note
    )
