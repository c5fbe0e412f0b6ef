"""The file room, as creating runs needs it."""

from collections.abc import Sequence
from datetime import timedelta

import grpc
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

from services.common.errors import Violation
from services.common.rpc.metadata import for_team
from services.common.status import error_of
from services.run.service.ports import FileBinding, FileRecord

PATIENCE = timedelta(seconds=30)
RETRIED = ("comfyfleet.file.v1.FileService/ImportFile", "comfyfleet.file.v1.FileService/BindFiles")
"""What the channel may try again: both are idempotent as this room calls them."""


class RoomFiles:
    """`Files` over the file room's door, with the room's own credential."""

    def __init__(self, *, channel: grpc.aio.Channel) -> None:
        self._stub = file_pb2_grpc.FileServiceStub(channel)

    async def import_data(self, team_id: str, *, uri: str, request_id: str) -> str:
        """Store the bytes of a `data:` URI, provisionally, and return the file's id; InvalidArgument, Unavailable."""
        header = file_pb2.FileHeader(provisional=True, request_id=request_id)
        request = file_pb2.ImportFileRequest(uri=uri, header=header)
        try:
            response = await self._stub.ImportFile(
                request, metadata=for_team(team_id), timeout=PATIENCE.total_seconds()
            )
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return response.file.id

    async def bind(
        self, team_id: str, *, run_id: str, files: Sequence[FileBinding], delete_at_end: bool
    ) -> tuple[Sequence[FileRecord], Sequence[Violation]]:
        """Bind files to a run, all or none: their records in order, or what is wrong with them; Unavailable."""
        request = file_pb2.BindFilesRequest(
            run_id=run_id,
            files=[file_pb2.FileBinding(file_id=file.file_id, accept=file.accept, field=file.field) for file in files],
            delete_at_end=delete_at_end,
        )
        try:
            response = await self._stub.BindFiles(request, metadata=for_team(team_id), timeout=PATIENCE.total_seconds())
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        violations = [Violation(wrong.field, wrong.reason, wrong.message) for wrong in response.violations]
        records = [
            FileRecord(id=file.id, file_name=file.file_name, sha256=file.sha256, size_bytes=file.size_bytes)
            for file in response.files
        ]
        return records, violations
