"""Batches to the device and results back, without the host waiting while there is work to launch."""

from __future__ import annotations

import torch


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy to ``device``; on CUDA from pinned memory and without waiting."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class HostCopy:
    """Tensors on their way to the host. On CUDA the copy is queued behind the work that makes them."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        first = next(iter(tensors.values()))
        if first.device.type != "cuda":
            self._host = {name: value.cpu() for name, value in tensors.items()}
            return
        self._host = {
            name: torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
            for name, value in tensors.items()
        }
        self._event = torch.cuda.Event()
        # On the stream of the copy: this device need not be the current one.
        self._event.record(torch.cuda.current_stream(first.device))

    def wait(self) -> dict[str, torch.Tensor]:
        """The tensors, once they are there: nothing that was launched later is waited for."""
        if self._event is not None:
            self._event.synchronize()
        return self._host
