"""The registry's rows."""

from services.registry.store.catalogues import CatalogueStore
from services.registry.store.facts import FactStore
from services.registry.store.listings import WorkflowListings
from services.registry.store.workflows import BaseMoved, VersionContent, WorkflowStore

__all__ = ["BaseMoved", "CatalogueStore", "FactStore", "VersionContent", "WorkflowListings", "WorkflowStore"]
