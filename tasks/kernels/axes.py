"""jaxtyping's annotations where it is installed (always in tests, which enforce them); plain names elsewhere.

A bare GPU machine has torch and numpy and must be able to run and time the kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
    except ModuleNotFoundError:

        class _Documentation:
            def __class_getitem__(cls, _item: Any) -> Any:
                return Any

        Bool = Float = Float32 = Int = Shaped = UInt8 = _Documentation

__all__ = ["Bool", "Float", "Float32", "Int", "Shaped", "UInt8"]
