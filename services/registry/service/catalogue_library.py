"""The node catalogues that may type a team's graphs: those of runners that may serve it.

Which ones is asked of the run room at a first miss, and again when a fact says that something changed or after
`TTL`. Bodies are copied once into the registry's own table. While the run room is away, what was known last is used,
and where nothing was, discovery goes on without.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from services.common.clock import Clock
from services.common.errors import DomainError
from services.registry.discovery import NodeCatalogue, read_catalogue
from services.registry.store import CatalogueStore

CATALOGUES_UNKNOWN = "catalogues_unknown"
CATALOGUE_UNREADABLE = "catalogue_unreadable"

TTL = timedelta(seconds=5)
RETRY_AFTER = timedelta(seconds=1)
"""How long a failure, or the answer that there is none, is believed: at a start runners appear soon."""
MOST_COMPARED = 4
"""Backends of one kind differ in little: a few catalogues are enough to find one that knows a graph."""
MOST_IN_MEMORY = 8
MOST_TEAMS = 10_000

_log = structlog.get_logger()


class Catalogues(Protocol):
    """The run room, which owns node catalogues."""

    async def hashes(self, team_id: str) -> Sequence[str]:
        """Hashes of the catalogues of runners that may serve the team, the most frequent first; DomainError."""
        ...

    async def body(self, team_id: str, hash_: str) -> bytes:
        """The JSON of one; DomainError, NotFound if no such runner reported it."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Known:
    hashes: tuple[str, ...]
    until: float
    """Monotonic."""


class CatalogueLibrary:
    """Finds the catalogue for a graph."""

    def __init__(self, *, catalogues: Catalogues, store: CatalogueStore, clock: Clock, ttl: timedelta = TTL) -> None:
        self._catalogues = catalogues
        self._store = store
        self._clock = clock
        self._ttl = ttl
        self._teams: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}
        self._parsed: OrderedDict[str, NodeCatalogue] = OrderedDict()
        self._reading = asyncio.Lock()
        self._generation = 0

    def forget(self) -> None:
        """Which catalogues a team has may have changed; bodies stay, they never change."""
        self._generation += 1
        for team_id, known in self._teams.items():
            self._teams[team_id] = _Known(hashes=known.hashes, until=0.0)

    async def best_for(self, team_id: str, node_classes: Iterable[str]) -> NodeCatalogue | None:
        """The catalogue that knows most of these classes, of equal ones the most frequent; None if none is known."""
        wanted = set(node_classes)
        best: NodeCatalogue | None = None
        for hash_ in (await self._hashes(team_id))[:MOST_COMPARED]:
            catalogue = await self._catalogue(team_id, hash_)
            if catalogue is None:
                continue
            if best is None or len(wanted & catalogue.classes.keys()) > len(wanted & best.classes.keys()):
                best = catalogue
            if wanted <= best.classes.keys():
                break
        return best

    async def _hashes(self, team_id: str) -> tuple[str, ...]:
        known = self._teams.get(team_id)
        if known is not None and known.until > time.monotonic():
            return known.hashes
        lock = self._asking.setdefault(team_id, asyncio.Lock())
        try:
            async with lock:
                known = self._teams.get(team_id)
                if known is not None and known.until > time.monotonic():
                    return known.hashes
                return await self._ask(team_id, known.hashes if known is not None else ())
        finally:
            if not lock.locked():
                self._asking.pop(team_id, None)

    async def _ask(self, team_id: str, last: tuple[str, ...]) -> tuple[str, ...]:
        generation = self._generation
        try:
            hashes, ttl = tuple(await self._catalogues.hashes(team_id)), self._ttl
        except DomainError as error:
            _log.warning(CATALOGUES_UNKNOWN, reason=error.reason)
            hashes, ttl = last, RETRY_AFTER
        until = time.monotonic() + (ttl if hashes else RETRY_AFTER).total_seconds()
        self._teams[team_id] = _Known(hashes=hashes, until=until if generation == self._generation else 0.0)
        self._teams.move_to_end(team_id)
        if len(self._teams) > MOST_TEAMS:
            self._teams.popitem(last=False)
        return hashes

    async def _catalogue(self, team_id: str, hash_: str) -> NodeCatalogue | None:
        if hash_ in self._parsed:
            self._parsed.move_to_end(hash_)
            return self._parsed[hash_]
        async with self._reading:  # one at a time: a large one takes memory and a thread
            if hash_ in self._parsed:
                return self._parsed[hash_]
            try:
                body = await self._body(team_id, hash_)
                catalogue = await asyncio.to_thread(read_catalogue, hash_, body)
            except (DomainError, ValueError) as error:
                _log.warning(CATALOGUE_UNREADABLE, catalogue_hash=hash_, error=str(error))
                return None
            self._parsed[hash_] = catalogue
            if len(self._parsed) > MOST_IN_MEMORY:
                self._parsed.popitem(last=False)
            return catalogue

    async def _body(self, team_id: str, hash_: str) -> bytes:
        body = await self._store.body(hash_)
        if body is None:
            body = await self._catalogues.body(team_id, hash_)
            await self._store.add(hash_, body, now=self._clock.now())
        return body
