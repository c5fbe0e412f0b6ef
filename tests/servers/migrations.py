"""What every room's migrations must do."""

from sqlalchemy import MetaData

from services.common.sql.migrate import downgrade, drift, migrate
from tests.servers.blocking import run_blocking


def check_migrations(url: str, room: str, metadata: MetaData) -> None:
    """Upgrade an empty database to head, back to base, to head again; it then holds exactly the room's tables."""
    run_blocking(migrate(url, room))
    run_blocking(downgrade(url, room))
    run_blocking(migrate(url, room))
    assert run_blocking(drift(url, room, metadata)) == []
