"""Options that several commands share."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, one document a line, instead of text.")]
PageSize = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Most entries to show.")]
