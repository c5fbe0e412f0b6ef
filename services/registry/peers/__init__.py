"""The registry's outbound doors."""

from services.registry.peers.catalogues import RunnerCatalogues
from services.registry.peers.facts import FactOutbox

__all__ = ["FactOutbox", "RunnerCatalogues"]
