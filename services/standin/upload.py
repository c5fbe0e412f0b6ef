"""Uploads: pictures into one of the folders, and masks onto a picture that is there."""

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.standin.folders import Folders, OutsideFolder
from services.standin.model.value import JsonObject


class RefusedUpload(Exception):
    """The upload is answered with an empty 400."""


class UnknownFolder(Exception):
    """The upload's type is no folder: the recorded server answers 500."""


class Uploads:
    """Keeps uploads, each under the name it came with or, when that is taken by other bytes, `name (1).ext`."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def keep(
        self, *, source: BinaryIO, filename: str, subfolder: str, kind: str | None, overwrite: bool, mask: str | None
    ) -> JsonObject:
        """Stores an upload and says where. `mask` is the `original_ref` of an upload to `/upload/mask`."""
        word = "input" if kind is None else kind
        folder = self._folders.of_type(word)
        if folder is None:
            raise UnknownFolder(word)
        if not filename:
            raise RefusedUpload
        target_folder = folder / os.path.normpath(subfolder)
        try:
            target = self._folders.within(folder, os.path.normpath(subfolder), filename)
        except OutsideFolder as outside:
            raise RefusedUpload from outside
        target_folder.mkdir(parents=True, exist_ok=True)
        stem, extension = str(Path(filename).with_suffix("")), Path(filename).suffix
        copies = 0
        while not overwrite and target.exists():
            if _same_bytes(target, source):
                return {"name": filename, "subfolder": subfolder, "type": word}
            copies += 1
            filename = f"{stem} ({copies}){extension}"
            target = target_folder / filename
        if mask is None:
            with target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        else:
            self._keep_mask(source, target, mask)
        return {"name": filename, "subfolder": subfolder, "type": word}

    def _keep_mask(self, source: BinaryIO, target: Path, original_ref: str) -> None:
        """Writes the original with the alpha of the mask; an original that is not there is passed over silently."""
        reference = json.loads(original_ref)
        original = self._original(reference)
        if original is None or not original.is_file():
            return
        with Image.open(original) as opened:
            texts = PngInfo()
            for key, text in getattr(opened, "text", {}).items():
                texts.add_text(key, text)
            picture = opened.convert("RGBA")
        picture.putalpha(Image.open(source).convert("RGBA").getchannel("A"))
        picture.save(target, format=_format_of(target), compress_level=4, pnginfo=texts)

    def _original(self, reference: JsonObject) -> Path | None:
        name, folder = self._folders.split_annotation(reference["filename"])
        if not name or name.startswith("/") or ".." in name:
            return None
        folder = folder or self._folders.of_type(reference.get("type", "output"))
        if folder is None:
            return None
        try:
            return self._folders.within(folder, reference.get("subfolder", ""), name)
        except OutsideFolder:
            return None


def _format_of(target: Path) -> str | None:
    return None if target.suffix.lower() in Image.registered_extensions() else "PNG"


def _same_bytes(path: Path, source: BinaryIO) -> bool:
    with path.open("rb") as kept:
        left = hashlib.file_digest(kept, "sha256").digest()
    right = hashlib.sha256(source.read()).digest()
    source.seek(0, io.SEEK_SET)
    return left == right
