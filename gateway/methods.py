"""The methods behind the public gRPC address, as the contract's generated code describes them."""

from collections.abc import Iterator

from comfyfleet.access.v1 import access_pb2
from comfyfleet.file.v1 import file_pb2
from comfyfleet.registry.v1 import registry_pb2
from comfyfleet.run.v1 import run_queue_pb2, run_service_pb2, runner_pb2
from google.protobuf.descriptor import MethodDescriptor

_DESCRIBED = (access_pb2, file_pb2, registry_pb2, run_queue_pb2, run_service_pb2, runner_pb2)


def known_methods() -> Iterator[MethodDescriptor]:
    """Every method of every service in those files."""
    for module in _DESCRIBED:
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods
