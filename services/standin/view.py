"""Files that clients may look at: which one a request means, and how it is shown."""

import io
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from services.standin.folders import Folders, OutsideFolder

UNSHOWN_TYPES = frozenset({"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"})
"""Active content goes out as a download."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What to answer: a bare status, a file as it is, or encoded bytes."""

    status: int = 200
    path: Path | None = None
    content: bytes | None = None
    content_type: str = ""
    name: str = ""


def view(query: Mapping[str, str], folders: Folders) -> View:
    """Answers the query of `GET /view`. An unreadable picture raises, and becomes a 500."""
    if "filename" not in query:
        return View(status=404)
    name, folder = folders.split_annotation(query["filename"])
    if not name or name.startswith("/") or ".." in name:
        return View(status=400)
    folder = folder or folders.of_type(query.get("type", "output"))
    if folder is None:
        return View(status=400)
    try:
        folder = folders.within(folder, query.get("subfolder", ""))
    except OutsideFolder:
        return View(status=403)
    name = name.rpartition("/")[2]
    path = folder / name
    if not path.is_file():
        return View(status=404)
    if "preview" in query:
        return _preview(path, name, query["preview"], query.get("channel", ""))
    match query.get("channel", "rgba"):
        case "rgb":
            with Image.open(path) as opened:
                return View(content=_png(opened.convert("RGB")), content_type="image/png", name=name)
        case "a":
            return View(content=_png(_alpha_only(path)), content_type="image/png", name=name)
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kind = "application/octet-stream" if guessed in UNSHOWN_TYPES else guessed
    return View(path=path, content_type=kind, name=name)


def _preview(path: Path, name: str, wanted: str, channel: str) -> View:
    words = wanted.split(";")
    form = words[0] if words[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    quality = int(words[-1]) if words[-1].isdigit() else 90
    with Image.open(path) as opened:
        picture = opened.convert("RGB") if form == "jpeg" or channel == "rgb" else opened
        target = io.BytesIO()
        picture.save(target, format=form, quality=quality)
    return View(content=target.getvalue(), content_type=f"image/{form}", name=name)


def _alpha_only(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        alpha = opened.getchannel("A") if opened.mode == "RGBA" else Image.new("L", opened.size, 255)
    shown = Image.new("RGBA", alpha.size)
    shown.putalpha(alpha)
    return shown


def _png(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, format="PNG")
    return target.getvalue()
