"""The dense gradient, for detectors that cannot do without."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Float32


def dense_gradient(
    residual: Float32[np.ndarray, "n k"], features: Float32[np.ndarray, "n h1"], out: Float32[np.ndarray, "n p"]
) -> None:
    """Write r ⊗ h, row-major over (k, h1), p = k·h1 values a sample, into ``out``."""
    n, k = residual.shape
    np.multiply(residual[:, :, None], features[:, None, :], out=out.reshape(n, k, features.shape[1]))
