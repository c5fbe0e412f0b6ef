"""Every method of the contract says who may call it."""

import importlib
import pkgutil
from collections.abc import Iterator

import comfyfleet
from google.protobuf.descriptor import ServiceDescriptor

from services.access.servicer import RULES as ACCESS
from services.file.servicer.file_servicer import RULES as FILE


def services_of_contract() -> Iterator[ServiceDescriptor]:
    """Every service in the generated code."""
    for module in pkgutil.walk_packages(comfyfleet.__path__, "comfyfleet."):
        if module.name.endswith("_pb2"):
            yield from importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()


def test_every_method_has_a_rule() -> None:
    rules = {**ACCESS, **FILE}
    missing = [
        path
        for service in services_of_contract()
        for method in service.methods
        if (path := f"/{service.full_name}/{method.name}") not in rules
    ]
    assert not missing
