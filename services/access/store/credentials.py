"""Rows of credentials."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlmodel import Session

from services.access.model.credential import Credential, CredentialKind
from services.access.model.replay import Replay
from services.access.model.secret import Secret
from services.access.store.replays import remember, replayed, write_unique
from services.access.store.tables import CredentialRow, TeamRow
from services.common.filtering import FieldKind, FilterField, Page, parse_listing
from services.common.outbox_event import OutboxEvent
from services.common.sql import Database
from services.common.sql.outbox import SqlOutbox

_CREDENTIAL: Any = CredentialRow.__table__  # type: ignore[attr-defined]  # SQLModel's stubs do not know it
_TEAM: Any = TeamRow.__table__  # type: ignore[attr-defined]
_FIELDS = {"id": FilterField(kind=FieldKind.TEXT, column=_CREDENTIAL.c.id, orderable=True)}


@dataclass(frozen=True, kw_only=True)
class KnownSecret:
    """What is kept under a public id."""

    credential: Credential
    digest: bytes
    team_name: str | None


class CredentialStore:
    """Keeps credentials."""

    def __init__(self, *, database: Database, outbox: SqlOutbox) -> None:
        self._database = database
        self._outbox = outbox

    async def add(self, credential: Credential, secret: Secret, replay: Replay | None) -> tuple[Credential, bool]:
        """Keep `credential`; the one made before and False if this is a replay.

        AlreadyExists if another request had the request id.
        """

        def unit(session: Session) -> tuple[Credential, bool]:
            made = replayed(session, replay)
            if made is not None:
                return _credential(session.get_one(CredentialRow, made)), False
            session.add(
                CredentialRow(
                    id=credential.id,
                    public_id=secret.public_id,
                    secret_digest=secret.digest,
                    kind=credential.kind,
                    team_id=credential.team_id,
                    display_name=credential.display_name,
                    prefix=credential.prefix,
                    scopes=" ".join(sorted(credential.scopes)),
                    created_at=credential.created_at,
                    expires_at=credential.expires_at,
                )
            )
            remember(session, replay, credential.id, credential.created_at)
            session.flush()
            return credential, True

        return await write_unique(self._database, unit)

    async def find_by_public_id(self, public_id: str) -> KnownSecret | None:
        """The credential with this public id, whatever has become of it."""
        statement = (
            select(_CREDENTIAL, _TEAM.c.name.label("team_name"))
            .outerjoin(_TEAM, _TEAM.c.id == _CREDENTIAL.c.team_id)
            .where(_CREDENTIAL.c.public_id == public_id)
        )

        def unit(session: Session) -> KnownSecret | None:
            row = session.connection().execute(statement).first()
            if row is None:
                return None
            return KnownSecret(credential=_credential(row), digest=row.secret_digest, team_name=row.team_name)

        return await self._database.glance(unit)

    async def revoke(
        self, credential_id: str, *, of_team: str | None, at: datetime, event: OutboxEvent
    ) -> Credential | None:
        """Revoke it, and tell so by `event` in the same transaction; a second time changes and tells nothing.

        None if there is no such credential, or (with `of_team`) it is not that team's.
        """
        mine = _CREDENTIAL.c.id == credential_id
        if of_team is not None:
            mine &= _CREDENTIAL.c.team_id == of_team
        statement = update(_CREDENTIAL).where(mine, _CREDENTIAL.c.revoked_at.is_(None)).values(revoked_at=at)

        def unit(session: Session) -> Credential | None:
            if session.connection().execute(statement).rowcount:
                self._outbox.add(session, event)
            row = session.connection().execute(select(_CREDENTIAL).where(mine)).first()
            return None if row is None else _credential(row)

        return await self._database.write(unit)

    async def find(self, credential_id: str) -> Credential | None:
        """The credential with this id."""

        def unit(session: Session) -> Credential | None:
            row = session.get(CredentialRow, credential_id)
            return None if row is None else _credential(row)

        return await self._database.glance(unit)

    async def list(self, team_id: str, *, page_size: int, page_token: str) -> Page[Credential]:
        """A page of the team's credentials, newest first."""
        listing = parse_listing(
            fields=_FIELDS,
            page_size=page_size,
            page_token=page_token,
            default_order="id desc",
            tie_breaker="id",
            scope=team_id,
        )
        statement = listing.apply(select(_CREDENTIAL).where(_CREDENTIAL.c.team_id == team_id))

        def unit(session: Session) -> list[Credential]:
            return [_credential(row) for row in session.connection().execute(statement)]

        return listing.page(await self._database.read(unit), lambda credential, _field: credential.id)


def _credential(row: Any) -> Credential:
    return Credential(
        id=row.id,
        kind=CredentialKind(row.kind),
        team_id=row.team_id,
        display_name=row.display_name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
