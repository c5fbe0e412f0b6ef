"""What parameters and outputs a graph has; pure."""

from services.registry.discovery.catalogue import NodeCatalogue, read_catalogue
from services.registry.discovery.discover import Discovery, discover
from services.registry.discovery.placeholders import check_placeholders, placeholder_targets

__all__ = ["Discovery", "NodeCatalogue", "check_placeholders", "discover", "placeholder_targets", "read_catalogue"]
