"""Facts of other rooms that concern the registry.

CatalogueSeen and RunnerChanged: which catalogues type a team's graphs may be another. Every replica hears them by an
ephemeral consumer of its own; what is missed is made good by the library's TTL.
"""

from services.common.events.consumer import run_consumer
from services.common.events.nats import Nats
from services.registry.service import CatalogueLibrary

SUBJECTS = ("comfyfleet.*.run.catalogue_seen", "comfyfleet.*.run.runner_changed")


class RegistryConsumer:
    """Hands facts to the library."""

    def __init__(self, *, nats: Nats, library: CatalogueLibrary) -> None:
        self._nats = nats
        self._library = library

    async def run(self) -> None:
        """Listen until cancelled."""
        await run_consumer(nats=self._nats, durable=None, subjects=SUBJECTS, receive=self.receive)

    async def receive(self, _subject: str, _body: bytes) -> None:
        """Whatever it says, the answer is asked for anew."""
        self._library.forget()
