"""What the rooms' tests share: the devices that arrays lie on."""

from __future__ import annotations

import pytest
import torch

# Where there is no CUDA device its variants are not made: five hundred skipped ones cost more to collect than to count.
# ``test_the_matrix_is_the_same_on_every_device`` is skipped then, and says so for all.
DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """The processor, and a CUDA device where there is one."""
    return torch.device(request.param)
