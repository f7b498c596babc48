"""Which device computes, and that one job at a time does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from tasks.errors import BadConfig

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]

# torch's default generator and its thread pool belong to the whole process: two jobs at once would draw each other's
# random numbers and fight for the same cores.
_ONE_JOB = threading.Lock()


def resolve(device: Device) -> torch.device:
    """The device to use; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        BadConfig: the device asked for is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, available in there.items() if available))
    if not there[device]:
        raise BadConfig(
            where="option device",
            expected=f"one of auto, {', '.join(name for name, found in there.items() if found)} on this machine",
            got=device,
            do="Use auto, or install the torch build for your accelerator.",
        )
    return torch.device(device)


@contextmanager
def exclusive(device: Device) -> Iterator[torch.device]:
    """Hold the device while computing on it.

    On the CPU with half as many threads as there are processors, unless ``OMP_NUM_THREADS`` says otherwise: threads
    that share a core wait for each other by spinning. On two cores with one other process at work, a training step of
    the small CNN took 26 ms with one thread and 128 ms with two.
    """
    import torch

    found = resolve(device)
    with _ONE_JOB:
        if found.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
        yield found
