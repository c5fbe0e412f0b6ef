"""The three folders that clients can name, and the rules for names inside them."""

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from services.standin.model.value import JsonObject

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".avif")


class OutsideFolder(ValueError):
    """A name leads out of the folder that it was given for."""


class Folders:
    """`input`, `output` and `temp` under one root. Temp is emptied when the server starts."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.input = self.root / "input"
        self.output = self.root / "output"
        self.temp = self.root / "temp"

    def prepare(self) -> None:
        """Makes the folders and empties temp; what was uploaded or saved stays."""
        shutil.rmtree(self.temp, ignore_errors=True)
        for folder in (self.input, self.output, self.temp):
            folder.mkdir(parents=True, exist_ok=True)

    def of_type(self, name: str) -> Path | None:
        """The folder that `type=` names; None for any other word."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(name)

    def split_annotation(self, name: str) -> tuple[str, Path | None]:
        """A name without its ` [temp]`-like suffix, and the folder that the suffix meant."""
        for word, folder in (("output", self.output), ("input", self.input), ("temp", self.temp)):
            suffix = f"[{word}]"
            if name.endswith(suffix):
                return name[: -len(suffix) - 1], folder
        return name, None

    def input_path(self, name: str) -> Path:
        """The file that a load node's name means, whether or not it is there."""
        plain, folder = self.split_annotation(name)
        return (folder or self.input) / plain

    def input_names(self, suffixes: Iterable[str] | None = None) -> list[str]:
        """The files at the top of the input folder, sorted; only those with one of the suffixes, if given."""
        wanted = None if suffixes is None else tuple(suffixes)
        with os.scandir(self.input) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
        return sorted(name for name in names if wanted is None or name.lower().endswith(wanted))

    def within(self, folder: Path, *parts: str) -> Path:
        """`folder` joined with the parts. Raises OutsideFolder if that leads out of it."""
        path = Path(os.path.normpath(folder.joinpath(*parts)))
        if not path.is_relative_to(folder):
            raise OutsideFolder(path)
        return path


class SaveSlot:
    """The place for the files of one save: a subfolder, a stem and the next free number.

    The number comes from a listing of the folder, as in the original; names keep what case they have.
    """

    def __init__(
        self, folders: Folders, *, folder: Path, kind: str, prefix: str, width: int = 0, height: int = 0
    ) -> None:
        plain = os.path.normpath(_filled(prefix, width, height)) if "%" in prefix else os.path.normpath(prefix)
        self.kind = kind
        self.subfolder, self.stem = os.path.split(plain)
        self.path = folders.within(folder, self.subfolder)
        self.number = _next_number(self.path, self.stem)

    def next(self, suffix: str, *, picture: int = 0) -> tuple[Path, JsonObject]:
        """The next file: where to write it, and how clients are told of it."""
        name = f"{self.stem.replace('%batch_num%', str(picture))}_{self.number:05}_.{suffix}"
        self.number += 1
        return self.path / name, {"filename": name, "subfolder": self.subfolder, "type": self.kind}


def _filled(prefix: str, width: int, height: int) -> str:
    now = time.localtime()
    for token, value in (
        ("width", str(width)),
        ("height", str(height)),
        ("year", str(now.tm_year)),
        ("month", f"{now.tm_mon:02}"),
        ("day", f"{now.tm_mday:02}"),
        ("hour", f"{now.tm_hour:02}"),
        ("minute", f"{now.tm_min:02}"),
        ("second", f"{now.tm_sec:02}"),
    ):
        prefix = prefix.replace(f"%{token}%", value)
    return prefix


def _next_number(path: Path, stem: str) -> int:
    try:
        names = os.listdir(path)  # noqa: PTH208 - a Path for each of 20,000 names costs more than the listing
    except FileNotFoundError:
        path.mkdir(parents=True, exist_ok=True)
        return 1
    start = f"{stem}_"
    highest = 0
    for name in names:
        if name.startswith(start):
            digits = name[len(start) :].split("_", 1)[0]
            if digits.isdigit():
                highest = max(highest, int(digits))
    return highest + 1
