"""The most suspect pictures on one sheet, for the Prefect UI."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from tasks.report.gallery import Gallery, Suspect

# Pictures side by side.
_COLUMNS = 6
# Pixels of one of them with its title, of the title and its letters, and between two.
_CELL, _TITLE, _SIZE, _GAP = (165, 192), 31, 13.75, 9
_LABEL = 14


def contact_sheet(shown: Gallery) -> bytes:
    """A grid of pictures, each under its rank and its given → suggested label; on white, as figures are.

    Drawn without matplotlib, which takes a tenth of a second for the least of them.
    """
    from matplotlib.font_manager import FontProperties, findfont

    lines = -(-len(shown.suspects) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL[0], lines * _CELL[1]), "white")
    # The letters of figures.
    font = ImageFont.truetype(findfont(FontProperties()), _SIZE)
    for index, suspect in enumerate(shown.suspects):
        line, column = divmod(index, _COLUMNS)
        _draw(suspect, sheet, font, column * _CELL[0], line * _CELL[1])
    sink = io.BytesIO()
    sheet.save(sink, "PNG")
    return sink.getvalue()


def _draw(suspect: Suspect, sheet: Image.Image, font: ImageFont.FreeTypeFont, left: int, top: int) -> None:
    """Its title and its picture, as large as it fits, in the cell at a corner."""
    title = f"{suspect.rank}.  {_short(suspect.label)} → {_short(suspect.suggested) or '?'}"
    middle, under = left + _CELL[0] // 2, top + _TITLE
    ImageDraw.Draw(sheet).text((middle, under - 6), title, fill="#1d2329", font=font, anchor="ms")
    if suspect.picture is not None:
        image = Image.open(io.BytesIO(base64.b64decode(suspect.picture.partition(",")[2]))).convert("RGBA")
        scale = min((_CELL[0] - _GAP) / image.width, (_CELL[1] - _TITLE - _GAP) / image.height)
        # Of one that is much longer than wide a line of pixels is left.
        width, height = (max(1, round(scale * side)) for side in image.size)
        larger = image.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(larger, (middle - width // 2, under), larger)


def _short(text: str) -> str:
    """A label on one line, cut where it is long."""
    line = " ".join(text.splitlines())
    return line if len(line) <= _LABEL else f"{line[: _LABEL - 1]}…"
