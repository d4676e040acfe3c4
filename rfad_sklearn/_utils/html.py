"""Coresets as HTML: thumbnails of images as PNG, or the first rows of a table."""

import base64
import html
import struct
import zlib

import numpy as np

from .columns import shown_values
from .pictures import drawable, scaled

# Classes that are shown, at most.
_MAX_CLASSES = 20
# Items of each class that are shown, at most.
_MAX_ITEMS = 10
# Columns of a table that are shown, at most.
_MAX_COLUMNS = 12
# Pixels of each side of a thumbnail in the file, at most: of larger images every k-th pixel.
_MAX_SIDE = 48
# Height of a thumbnail on the screen, in CSS pixels.
_SCREEN_HEIGHT = 48
# Pixels between two thumbnails.
_GAP = 1
# Characters of a label or column name that are shown, at most.
_MAX_CHARACTERS = 40


def coreset_html(coreset):
    """An HTML fragment of bounded size: a title, then a row for each class or each item."""
    show = _table_rows if coreset.image_shape is None else _image_rows
    rows, left_out = show(coreset)
    lines = [f"<p>{html.escape(repr(coreset))}</p>", "<table>", *rows, "</table>"]
    if left_out:
        lines.append(f"<p>&hellip; {left_out}</p>")
    return "<div>\n" + "\n".join(lines) + "\n</div>"


def png(pixels):
    """Bytes of a PNG file.

    Parameters
    ----------
    pixels : uint8 array of shape (H, W) or (H, W, 3)
    """
    height, width = pixels.shape[:2]
    colour_type = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    # Each line starts with the number of its filter: 0 for none.
    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _image_rows(coreset):
    """A row of thumbnails for each class, and words for what was left out."""
    images, limits = drawable(coreset.images)
    if limits[0] is not None:
        images = scaled(images, *limits)
    stride = -(-max(images.shape[1:3]) // _MAX_SIDE)
    pixels = np.round(255 * images[:, ::stride, ::stride]).astype(np.uint8)
    rows, n_shown = [], 0
    for label in coreset.classes[:_MAX_CLASSES]:
        members = np.flatnonzero(coreset.y == label)[:_MAX_ITEMS]
        n_shown += len(members)
        strip = _strip(pixels[members]) if len(members) else ""
        rows.append(f"<tr><th>{_text(label)}</th><td>{strip}</td></tr>")
    n_more = coreset.n_items - n_shown
    return rows, f"{n_more} more items" if n_more else ""


def _strip(pixels):
    """Images beside each other, as one ``img``."""
    white = np.full((*pixels.shape[:2], _GAP, *pixels.shape[3:]), 255, dtype=np.uint8)
    columns = np.concatenate([pixels, white], axis=2)
    data = base64.b64encode(png(np.concatenate(list(columns), axis=1))).decode()
    style = f"height:{_SCREEN_HEIGHT}px;max-width:none;image-rendering:pixelated"
    return f'<img alt="{len(pixels)} items" style="{style}" src="data:image/png;base64,{data}">'


def _table_rows(coreset):
    """A header, a row for each of the first items, and words for what was left out."""
    n_columns = coreset.X.shape[1]
    names = coreset.feature_names or tuple(map(str, range(n_columns)))
    heads = "".join(f"<th>{_text(name)}</th>" for name in names[:_MAX_COLUMNS])
    rows = [f"<tr><th>class</th>{heads}</tr>"]
    words = shown_values(coreset.X[:_MAX_ITEMS], coreset.columns)
    for label, item in zip(coreset.y[:_MAX_ITEMS], words, strict=True):
        cells = "".join(f"<td>{_text(value)}</td>" for value in item[:_MAX_COLUMNS])
        rows.append(f"<tr><th>{_text(label)}</th>{cells}</tr>")
    counts = [
        (coreset.n_items - _MAX_ITEMS, "more items"),
        (n_columns - _MAX_COLUMNS, "more columns"),
    ]
    return rows, ", ".join(f"{number} {what}" for number, what in counts if number > 0)


def _text(label):
    text = str(label)
    if len(text) > _MAX_CHARACTERS:
        text = text[: _MAX_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return html.escape(text)
