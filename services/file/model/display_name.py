"""A file's name as it may be shown or offered for saving."""

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Controls, formats (writing direction overrides among them), surrogates, line and paragraph separators."""
_SEPARATORS = str.maketrans({"/": "_", "\\": "_", ":": "_", '"': "'"})
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
"""Device names that Windows takes for files of that name, whatever their extension."""


def display_name(file_name: str) -> str:
    """`file_name` without anything that could point elsewhere or deceive the eye; never empty."""
    shown = "".join(each for each in file_name if unicodedata.category(each) not in _INVISIBLE)
    shown = shown.translate(_SEPARATORS).strip().strip(".").strip()
    if not shown:
        return "file"
    return f"_{shown}" if shown.partition(".")[0].upper() in _RESERVED else shown
