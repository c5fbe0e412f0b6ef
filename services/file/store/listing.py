"""Pages of a team's files."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from services.common.filtering import FieldKind, FilterField, Page, parse_listing
from services.common.sql import Database
from services.file.model.file import File
from services.file.store.rows import file_of, visible
from services.file.store.tables import FILE

FIELDS = {
    "id": FilterField(kind=FieldKind.TEXT, column=FILE.c.id, orderable=True),
    "file_name": FilterField(kind=FieldKind.TEXT, column=FILE.c.file_name, orderable=True),
    "media_type": FilterField(kind=FieldKind.TEXT, column=FILE.c.media_type),
    "size_bytes": FilterField(kind=FieldKind.INTEGER, column=FILE.c.size_bytes, orderable=True),
    "origin_run_id": FilterField(kind=FieldKind.TEXT, column=FILE.c.origin_run_id, nullable=True),
    "create_time": FilterField(kind=FieldKind.TIME, column=FILE.c.created_at, orderable=True),
}
_ATTRIBUTES = {"create_time": "created_at"}


@dataclass(frozen=True, kw_only=True)
class ListQuery:
    """What a caller asks of a list."""

    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


class FileListing:
    """Lists files."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def list(self, team_id: str, query: ListQuery, *, now: datetime) -> Page[File]:
        """A page of the team's files; InvalidArgument for what `query` says wrongly."""
        listing = parse_listing(
            fields=FIELDS,
            page_size=query.page_size,
            page_token=query.page_token,
            filter_text=query.filter,
            order_by=query.order_by,
            default_order="create_time desc",
            tie_breaker="id",
            scope=team_id,
        )
        statement = listing.apply(select(FILE).where(FILE.c.team_id == team_id, visible(now)))

        def unit(session: Session) -> list[File]:
            return [file_of(row) for row in session.connection().execute(statement).mappings()]

        return listing.page(await self._database.read(unit), _position)


def _position(file: File, name: str) -> Any:
    return getattr(file, _ATTRIBUTES.get(name, name))
