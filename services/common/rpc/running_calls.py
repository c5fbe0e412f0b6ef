"""Streams under way, by credential: those of a revoked one are ended, not only refused the next time."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from services.common.errors import DomainError, Unauthenticated, Unavailable
from services.common.rpc.authentication import Authentication


@dataclass(eq=False, kw_only=True)
class RunningCall:
    """One stream and the task that serves it."""

    credential_id: str
    metadata: Mapping[str, str | bytes]
    endless: bool
    task: "asyncio.Task[object]"
    ended_by: DomainError | None = None
    """Why we cancelled the task; None while we did not."""

    def end(self, why: DomainError) -> None:
        """Cancel the handler; the interceptor answers with `why`."""
        if self.ended_by is None:
            self.ended_by = why
            self.task.cancel()


class RunningCalls:
    """All streams that a server is serving."""

    def __init__(self) -> None:
        self._calls: set[RunningCall] = set()

    @contextmanager
    def registered(self, call: RunningCall) -> Iterator[None]:
        """Keep `call` on the list."""
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)

    def revoke(self, credential_id: str) -> None:
        """End every stream of this credential with UNAUTHENTICATED."""
        self._end(credential_id, Unauthenticated("The credential was revoked.", reason="CREDENTIAL_REVOKED"))

    def stop_endless(self) -> None:
        """End every stream that would not end by itself with UNAVAILABLE: the server is stopping."""
        for call in list(self._calls):
            if call.endless:
                call.end(Unavailable("This server is stopping; connect again.", reason="SERVER_STOPPING"))

    async def check_again(self, authentication: Authentication) -> None:
        """End the streams whose credential is no longer good: the slow twin of CredentialRevoked."""
        for credential_id, metadata in {call.credential_id: call.metadata for call in self._calls}.items():
            try:
                await authentication.principal_of(metadata)
            except Unauthenticated as error:
                self._end(credential_id, error)
            except DomainError:
                continue  # it cannot be asked now: what was good stays good until it can

    def _end(self, credential_id: str, why: DomainError) -> None:
        for call in list(self._calls):
            if call.credential_id == credential_id:
                call.end(why)
