"""What a credential may do."""

from enum import StrEnum


class Scope(StrEnum):
    """One permission: resource and verb."""

    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_WRITE = "workflows:write"
    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    RUNNERS_READ = "runners:read"
    TEAMS_READ = "teams:read"
    CREDENTIALS_READ = "credentials:read"
    CREDENTIALS_WRITE = "credentials:write"
    INSTALLATION_ADMIN = "installation:admin"
    """Teams, and what belongs to none: for those who run the installation."""
    QUEUE_SYNCHRONIZE = "queue:synchronize"
    """Take work: dispatchers, and they nothing else."""


AGENT_SCOPES = frozenset({Scope.QUEUE_SYNCHRONIZE})
TEAM_SCOPES = frozenset(Scope) - AGENT_SCOPES - {Scope.INSTALLATION_ADMIN}
"""What a program of a team may do."""
GRANTABLE = TEAM_SCOPES | {Scope.INSTALLATION_ADMIN}
"""What an INTEGRATION may hold, if its maker does."""
