"""Where a room's rows live."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """A database URL as one room uses it: a SQLite file of its own, or its schema in a PostgreSQL database."""

    url: URL
    room: str

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    @property
    def path(self) -> Path:
        """The SQLite file; its folder is the room's folder in the state directory."""
        assert self.url.database is not None
        return Path(self.url.database)

    @classmethod
    def parse(cls, text: str, *, room: str) -> "DatabaseAddress":
        """The address behind `sqlite:////abs/file.db` or `postgresql://…`; ValueError for anything else."""
        url = make_url(text)
        backend = url.get_backend_name()
        if backend == "sqlite":
            if not url.database or url.database == ":memory:":
                raise ValueError("A SQLite database needs a file: sqlite:////path/to/room.db")
            return cls(url=url.set(drivername="sqlite"), room=room)
        if backend == "postgresql":
            # A bare URL means the driver that we ship; another one may be named.
            bare = url.drivername == "postgresql"
            return cls(url=url.set(drivername="postgresql+asyncpg") if bare else url, room=room)
        raise ValueError(f"Databases are sqlite or postgresql, not {backend}.")
