"""Between the contract's messages and the model."""

from comfyfleet.file.v1 import file_pb2

from services.common.errors import Violation
from services.file.model.binding import WantedFile
from services.file.model.file import File, Origin
from services.file.model.new_file import DEFAULT_NAME, NewFile
from services.file.store.listing import ListQuery


def new_file_from_proto(header: file_pb2.FileHeader) -> NewFile:
    """What a sender says of a file."""
    return NewFile(
        file_name=header.file_name or DEFAULT_NAME,
        media_type=header.media_type,
        size_bytes=header.size_bytes if header.HasField("size_bytes") else None,
        sha256=header.sha256.lower() or None,
        provisional=header.provisional,
        request_id=header.request_id or None,
        origin=origin_from_proto(header.origin) if header.HasField("origin") else None,
    )


def origin_from_proto(origin: file_pb2.FileOrigin) -> Origin:
    """Which output of which run a file is."""
    return Origin(
        run_id=origin.run_id,
        attempt=origin.attempt,
        node_id=origin.node_id,
        key=origin.key,
        position=origin.position,
    )


def file_to_proto(file: File) -> file_pb2.File:
    """The record."""
    message = file_pb2.File(
        id=file.id,
        team_id=file.team_id,
        file_name=file.file_name,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        blake3=file.blake3,
        provisional=file.provisional,
    )
    message.create_time.FromDatetime(file.created_at)
    if file.expires_at is not None:
        message.expire_time.FromDatetime(file.expires_at)
    if file.origin is not None:
        message.origin.CopyFrom(origin_to_proto(file.origin))
    return message


def origin_to_proto(origin: Origin) -> file_pb2.FileOrigin:
    """Which output of which run a file is."""
    return file_pb2.FileOrigin(
        run_id=origin.run_id,
        attempt=origin.attempt,
        node_id=origin.node_id,
        key=origin.key,
        position=origin.position,
    )


def wanted_from_proto(binding: file_pb2.FileBinding) -> WantedFile:
    """A file that a run wants."""
    return WantedFile(file_id=binding.file_id, accept=tuple(binding.accept), field=binding.field)


def violation_to_proto(violation: Violation) -> file_pb2.FileViolation:
    """Why a file cannot be an input."""
    return file_pb2.FileViolation(field=violation.field, reason=violation.reason, message=violation.message)


def query_from_proto(request: file_pb2.ListFilesRequest) -> ListQuery:
    """What a list asks."""
    return ListQuery(
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
    )
