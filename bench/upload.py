"""A large upload through the gateway, beside the same through a bare file room, and what it costs in memory."""

import hashlib
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from comfyfleet.file.v1 import file_pb2, file_pb2_grpc

from bench.installation import open_installation
from services.cli.connection import Connection, open_client
from services.cli.supervisor.machine import APART, Machine

_CHUNK = bytes(range(256)) * 1024
_MIB = 1024 * 1024


async def measure(*, size_bytes: int) -> None:
    """Prints both rates, their ratio, and how far each member's resident memory grew at its peak."""
    async with open_installation(processes=APART) as machine:
        # A first, small transfer each: imports and pools are not what is measured.
        await _by_gateway(machine, 8 * _MIB, b"warm gateway")
        await _bare(machine, 8 * _MIB, b"warm bare")
        before = _resident(machine)
        bare = await _bare(machine, size_bytes, b"bare")
        gateway = await _by_gateway(machine, size_bytes, b"gateway")
        after = _resident(machine)
    print(f"\nupload of {size_bytes // _MIB} MiB")
    print(f"{'bare UploadFile':<22}{size_bytes / _MIB / bare:>9.0f} MiB/s")
    print(f"{'REST by the gateway':<22}{size_bytes / _MIB / gateway:>9.0f} MiB/s{bare / gateway:>9.2f}x")
    print("\nresident memory, MiB (peak since start, before and after)")
    for name, (resident, peak) in after.items():
        grown = max(resident, peak) - max(before[name])
        print(f"{name:<22}{max(before[name]):>9.0f}{max(resident, peak):>9.0f}{grown:>+9.0f}")


async def _by_gateway(machine: Machine, size_bytes: int, first: bytes) -> float:
    async def body() -> AsyncIterator[bytes]:
        for chunk in _chunks(size_bytes, first):
            yield chunk

    connection = machine.connection
    headers = {"authorization": f"Bearer {connection.key}", "content-type": "application/octet-stream"}
    headers["content-length"] = str(size_bytes)
    begun = time.perf_counter()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.post(f"{connection.url}/v1/files?file_name=large.bin", data=body(), headers=headers) as answer,
    ):
        stored = await answer.json()
    elapsed = time.perf_counter() - begun
    assert stored["sha256"] == _digest(size_bytes, first), stored
    return elapsed


async def _bare(machine: Machine, size_bytes: int, first: bytes) -> float:
    async def parts() -> AsyncIterator[file_pb2.UploadFileRequest]:
        yield file_pb2.UploadFileRequest(header=file_pb2.FileHeader(file_name="large.bin", size_bytes=size_bytes))
        for chunk in _chunks(size_bytes, first):
            yield file_pb2.UploadFileRequest(chunk=chunk)

    room = Connection(url="", grpc=machine.addresses["file"], key=machine.connection.key)
    begun = time.perf_counter()
    async with open_client(room) as channel:
        answer = await file_pb2_grpc.FileServiceStub(channel).UploadFile(parts(), metadata=room.metadata)
    elapsed = time.perf_counter() - begun
    assert answer.file.sha256 == _digest(size_bytes, first), answer
    return elapsed


def _chunks(size_bytes: int, first: bytes) -> list[bytes]:
    """Other first bytes, so that nothing is found stored already; then the same chunk again and again."""
    whole, rest = divmod(size_bytes - len(first), len(_CHUNK))
    return [first, *([_CHUNK] * whole), _CHUNK[:rest]]


def _digest(size_bytes: int, first: bytes) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(size_bytes, first):
        digest.update(chunk)
    return digest.hexdigest()


def _resident(machine: Machine) -> dict[str, tuple[float, float]]:
    """Resident memory of each member now, and its peak where the system keeps one, in MiB."""
    sizes = {}
    for child in machine.family.children:
        pid = child.pid
        listing = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
        resident = int(listing.stdout) / 1024
        sizes[child.spec.name] = (resident, _peak(pid) or resident)
    return sizes


def _peak(pid: int | None) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
