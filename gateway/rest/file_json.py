"""File records as JSON."""

from typing import Any

from comfyfleet.file.v1 import file_pb2

from gateway.json_answer import duration_text, time_text
from gateway.links import file_url


def file_json(file: file_pb2.File, *, base: str) -> dict[str, Any]:
    """A file's record. Absent values are null."""
    return {
        "id": file.id,
        "team_id": file.team_id,
        "file_name": file.file_name,
        "media_type": file.media_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "blake3": file.blake3 or None,
        "create_time": time_text(file, "create_time"),
        "expire_time": time_text(file, "expire_time"),
        "retention": duration_text(file, "retention"),
        "provisional": file.provisional,
        "origin": _origin_json(file.origin) if file.HasField("origin") else None,
        "url": file_url(base, file.id),
    }


def _origin_json(origin: file_pb2.FileOrigin) -> dict[str, Any]:
    return {
        "run_id": origin.run_id,
        "attempt": origin.attempt,
        "node_id": origin.node_id,
        "key": origin.key,
        "position": origin.position,
    }
