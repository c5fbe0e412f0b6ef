"""Migrated databases for tests, each made by copying a template that was migrated once per session."""

import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from services.common.sql.migrate import migrate
from tests.servers.blocking import run_blocking
from tests.servers.postgres import PostgresServer


@dataclass(kw_only=True)
class Databases:
    """Hands out a fresh migrated database of a room, on SQLite or on PostgreSQL."""

    folder: Path
    postgres: PostgresServer | None
    """None: SQLite."""
    _templates: dict[str, str] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def fresh(self, room: str) -> str:
        """The URL of a new database of `room`, at the head of its migrations."""
        if room not in self._templates:
            self._templates[room] = self._empty(f"template_{room}", room)
            run_blocking(migrate(self._templates[room], room))
        number = next(self._numbers)
        if self.postgres is not None:
            self.postgres.execute(f"CREATE DATABASE {room}_{number} TEMPLATE template_{room}")
            return self.postgres.url(f"{room}_{number}")
        path = self._sqlite_path(f"{room}-{number}", room)
        shutil.copy(self._sqlite_path(f"template_{room}", room), path)
        return f"sqlite:///{path}"

    def empty(self, room: str) -> str:
        """The URL of a new database without any table."""
        return self._empty(f"empty_{next(self._numbers)}", room)

    def _empty(self, name: str, room: str) -> str:
        if self.postgres is None:
            return f"sqlite:///{self._sqlite_path(name, room)}"
        self.postgres.execute(f"CREATE DATABASE {name}")
        return self.postgres.url(name)

    def _sqlite_path(self, name: str, room: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder / f"{room}.db"
