"""Every method of the contract says who may call it."""

import importlib
import pkgutil
from collections.abc import Iterator

import comfyfleet
from google.protobuf.descriptor import ServiceDescriptor

from services.access.servicer import RULES as ACCESS
from services.dispatcher.servicer import RULES as DISPATCHER
from services.file.servicer.file_servicer import RULES as FILE
from services.registry.servicer.registry_servicer import RULES as REGISTRY
from services.run.servicer.queue_servicer import QUEUE_RULES
from services.run.servicer.run_servicer import RULES as RUN
from services.run.servicer.runner_servicer import RUNNER_RULES


def services_of_contract() -> Iterator[ServiceDescriptor]:
    """Every service in the generated code."""
    for module in pkgutil.walk_packages(comfyfleet.__path__, "comfyfleet."):
        if module.name.endswith("_pb2"):
            yield from importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()


def test_every_method_has_a_rule() -> None:
    rules = {**ACCESS, **DISPATCHER, **FILE, **REGISTRY, **RUN, **QUEUE_RULES, **RUNNER_RULES}
    missing = [
        path
        for service in services_of_contract()
        for method in service.methods
        if (path := f"/{service.full_name}/{method.name}") not in rules
    ]
    assert not missing
