"""The registry's use cases."""

from services.registry.service.catalogue_library import CatalogueLibrary, Catalogues
from services.registry.service.workflows import WorkflowService

__all__ = ["CatalogueLibrary", "Catalogues", "WorkflowService"]
