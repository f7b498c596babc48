"""Options that readers of pictures have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.dataset.images import LONGEST

ImageSize = Annotated[
    int | None,
    Field(
        ge=4,
        description="Resize pictures to squares of this many pixels. Default: their own size, or, where they have "
        f"several, the median's; the longer side is {LONGEST} at most.",
    ),
]
Channels = Annotated[Literal[1, 3] | None, Field(description="1 grey, 3 RGB; default: as most pictures are.")]
