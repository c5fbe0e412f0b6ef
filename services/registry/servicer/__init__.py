"""The registry's gRPC door."""

from services.registry.servicer.registry_servicer import RULES, RegistryServicer

__all__ = ["RULES", "RegistryServicer"]
