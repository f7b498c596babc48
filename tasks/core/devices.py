"""Which device computes, and that one job at a time does."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasks.core.errors import BadConfig
from tasks.core.progress import check

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
_LOOK_AGAIN_SECONDS = 0.2

# torch's default generator and its thread pool belong to the whole process: two jobs at once would draw each other's
# random numbers and fight for the same cores.
_ONE_JOB = threading.Lock()
# Jobs that draw no random numbers run side by side on a CPU, one thread each.
_SIDE_BY_SIDE = threading.BoundedSemaphore(max(1, (os.cpu_count() or 2) // 2))


def resolve(device: Device) -> torch.device:
    """The device to use; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        BadConfig: the device asked for is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, is_available in there.items() if is_available))
    if not there[device]:
        raise BadConfig(
            where="option device",
            expected=f"one of auto, {', '.join(name for name in there if there[name])} on this machine",
            got=device,
            do="Use auto, or install the torch build for your accelerator.",
        )
    return torch.device(device)


@contextmanager
def exclusive(device: Device) -> Iterator[torch.device]:
    """Hold the device, and torch's random numbers, while training.

    On the CPU with half as many threads as there are processors, unless ``OMP_NUM_THREADS`` says otherwise: threads
    that share a core wait for each other by spinning. On two cores with one other process at work, a training step of
    the small CNN took 26 ms with one thread and 128 ms with two.
    """
    import torch

    resolved = resolve(device)
    with _ONE_JOB, _one_of(resolved) as index:
        if resolved.type == "cpu":
            threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
            torch.set_num_threads(
                int(threads) if threads.isdigit() and int(threads) else max(1, (os.cpu_count() or 2) // 2)
            )
        yield index


@contextmanager
def claim(device: Device) -> Iterator[torch.device]:
    """Hold a device for work that draws no random numbers: several such jobs may run at once.

    On the CPU each computes with one thread, so that its results do not depend on how many run beside it, in threads or
    in other processes. Of several CUDA devices each job gets one of its own.
    """
    import torch

    resolved = resolve(device)
    if resolved.type != "cpu":
        with _one_of(resolved) as index:
            yield index
        return
    with _SIDE_BY_SIDE:
        torch.set_num_threads(1)
        yield resolved


@contextmanager
def _one_of(device: torch.device) -> Iterator[torch.device]:
    """One CUDA device that no other job of this user and machine holds, whatever its process; others as they are."""
    import torch
    from filelock import FileLock, Timeout

    if device.type != "cuda":
        yield device
        return
    locks = [
        FileLock(Path(tempfile.gettempdir()) / f"gradsieve-{os.getuid()}-cuda-{index}.lock")
        for index in range(torch.cuda.device_count())
    ]
    while True:
        check()
        for index, lock in enumerate(locks):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield torch.device("cuda", index)
            finally:
                lock.release()
            return
        time.sleep(_LOOK_AGAIN_SECONDS)
