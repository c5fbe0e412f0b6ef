"""FileService over a real server, with real streams."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from blake3 import blake3
from comfyfleet.file.v1 import file_pb2
from grpc.aio import AioRpcError

from services.common.errors import InvalidArgument
from services.common.ids import new_id
from services.common.status import error_of
from services.file.model.file import CHUNK_BYTES, INLINE_BYTES, PROVISIONAL_FOR
from tests.contract.test_blobs import files_limited_to
from tests.rpc.file_rig import (
    AGENT,
    ALICE,
    BOB,
    DEADLINE,
    READER,
    ROOM,
    TEAM_A,
    FileRig,
    Metadata,
    open_file_rig,
    until,
    upload_requests,
)

LARGE = os.urandom(5 * CHUNK_BYTES + 3)
PNG = b"\x89PNG\r\n\x1a\n" + b"rest"
MAX_FILE_BYTES = 8 * 1024 * 1024

Code = grpc.StatusCode


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[FileRig]:
    async with open_file_rig(tmp_path, max_file_bytes=MAX_FILE_BYTES) as opened:
        yield opened


class Refusal:
    """Collects the refusal of the call in its block."""

    def __init__(self, code: Code, reason: str | None = None) -> None:
        self._code, self._reason = code, reason

    def __enter__(self) -> "Refusal":
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        assert isinstance(error, AioRpcError), f"not refused: {error!r}"
        assert error.code() is self._code, error.details()
        self.reasons = reasons_of(error)
        if self._reason is not None:
            assert self._reason in self.reasons
        return True


def reasons_of(error: AioRpcError) -> list[str]:
    """The reason, and the violations as `field REASON`."""
    refusal = error_of(error)
    violations = refusal.violations if isinstance(refusal, InvalidArgument) else ()
    return [refusal.reason, *(f"{each.field} {each.reason}" for each in violations)]


def output(run_id: str, position: int = 0, *, attempt: int = 1) -> file_pb2.FileOrigin:
    return file_pb2.FileOrigin(run_id=run_id, attempt=attempt, node_id="9", key="images", position=position)


async def nothing_stored(rig: FileRig) -> bool:
    page = await rig.stub.ListFiles(file_pb2.ListFilesRequest(), metadata=ALICE, timeout=DEADLINE)
    return not page.files and not rig.blob_paths() and not rig.incoming_paths()


# ---------------------------------------------------------------- storing and reading


@pytest.mark.parametrize("size_bytes", [0, 1, INLINE_BYTES, INLINE_BYTES + 1, CHUNK_BYTES])
async def test_a_put_file_comes_back(rig: FileRig, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    file = await rig.put(content, file_name="x.bin")
    header, received = await rig.download(file.id)
    assert received == content
    assert (header.offset, header.length, header.file) == (0, size_bytes, file)
    assert (file.sha256, file.blake3) == (sha256(content).hexdigest(), blake3(content).hexdigest())
    assert (file.team_id, file.file_name, file.size_bytes) == (TEAM_A, "x.bin", size_bytes)
    assert await rig.get(file.id) == file
    assert bool(rig.blob_paths()) == (size_bytes > INLINE_BYTES)


@pytest.mark.parametrize("size_bytes", [0, INLINE_BYTES, INLINE_BYTES + 1, CHUNK_BYTES, len(LARGE)])
async def test_an_uploaded_file_comes_back(rig: FileRig, size_bytes: int) -> None:
    content = LARGE[:size_bytes]
    file = await rig.upload(content, size_bytes=size_bytes, sha256=sha256(content).hexdigest().upper())
    assert (await rig.download(file.id))[1] == content
    assert file.sha256 == sha256(content).hexdigest()


async def test_tiny_chunks_make_the_same_file(rig: FileRig) -> None:
    content = os.urandom(INLINE_BYTES + 5000)

    async def requests() -> AsyncIterator[file_pb2.UploadFileRequest]:
        yield file_pb2.UploadFileRequest(header=file_pb2.FileHeader())
        for start in range(0, len(content), 100):
            yield file_pb2.UploadFileRequest(chunk=b"")
            yield file_pb2.UploadFileRequest(chunk=content[start : start + 100])

    answer = await rig.stub.UploadFile(requests(), metadata=ALICE, timeout=DEADLINE)
    assert answer.file.sha256 == sha256(content).hexdigest()


@pytest.mark.parametrize("content", [LARGE, LARGE[:1000]])
async def test_ranges_are_exact(rig: FileRig, content: bytes) -> None:
    file = await rig.upload(content)
    size = len(content)
    for offset, length in ((0, 1), (10, 100), (size - 5, 0), (size - 5, 50), (size, 0), (100, size)):
        header, received = await rig.download(file.id, offset=offset, length=length)
        assert received == content[offset : offset + length if length else None]
        assert (header.offset, header.length, header.file.size_bytes) == (offset, len(received), size)
    with Refusal(Code.OUT_OF_RANGE, "OFFSET_PAST_END"):
        await rig.download(file.id, offset=size + 1)
    with Refusal(Code.INVALID_ARGUMENT) as refusal:
        await rig.download(file.id, offset=-1, length=-1)
    assert refusal.reasons.count("offset NEGATIVE") == 1


async def test_the_type_is_claimed_or_found(rig: FileRig) -> None:
    assert (await rig.put(PNG, media_type="image/png")).media_type == "image/png"
    assert (await rig.put(PNG, media_type="application/octet-stream", file_name="a.txt")).media_type == "image/png"
    assert (await rig.put(b"<html>", media_type="image/png", file_name="a.png")).media_type == "text/html"


async def test_names_are_any_text_and_never_a_path(rig: FileRig) -> None:
    names = ["../../etc/passwd", "..\\x", "/abs", "CON", "a\u202egnp.exe", "\U0001f600", "e\u0301", "é", ".", "x" * 255]
    for name in names:
        assert (await rig.upload(LARGE, file_name=name)).file_name == name
    assert (await rig.put(b"x")).file_name == "file"
    inside = {path.name for path in rig.blobs.rglob("*") if path.is_file()}
    assert all(name == ".lock" or name.count("-") == 5 for name in inside)
    with Refusal(Code.INVALID_ARGUMENT) as refusal:
        await rig.put(b"x", file_name="a\x00b", request_id="r" * 129, sha256="zz", size_bytes=-1)
    assert {"header.file_name NUL", "header.request_id TOO_LONG", "header.sha256 MALFORMED"} < set(refusal.reasons)
    with Refusal(Code.INVALID_ARGUMENT, "header.file_name TOO_LONG"):
        await rig.put(b"x", file_name="é" * 128)


async def test_equal_files_share_their_bytes_until_the_last_is_deleted(rig: FileRig) -> None:
    files = await asyncio.gather(*(rig.upload(LARGE) for _ in range(6)), rig.upload(LARGE, BOB))
    assert len({file.id for file in files}) == 7
    assert len(rig.blob_paths()) == 1
    for file in files[:6]:
        await rig.delete(file.id)
    assert (await rig.download(files[6].id, BOB))[1] == LARGE
    await rig.delete(files[6].id, BOB)
    assert rig.blob_paths() == []
    with Refusal(Code.NOT_FOUND):
        await rig.delete(files[6].id, BOB)


async def test_uploads_and_deletions_of_the_same_bytes_at_once_lose_none(rig: FileRig) -> None:
    async def store_and_delete() -> None:
        file = await rig.upload(LARGE)
        assert (await rig.download(file.id))[1] == LARGE
        await rig.delete(file.id)

    for _ in range(3):
        await asyncio.gather(*(store_and_delete() for _ in range(6)))
    assert rig.blob_paths() == []


async def test_a_request_is_replayed(rig: FileRig) -> None:
    first = await rig.upload(LARGE, request_id="r")
    assert await rig.upload(LARGE, request_id="r") == first
    assert len(rig.blob_paths()) == 1
    with Refusal(Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await rig.upload(LARGE[1:], request_id="r")
    assert len(rig.blob_paths()) == 1
    assert (await rig.upload(LARGE, BOB, request_id="r")).id != first.id


async def test_data_uris_are_imported(rig: FileRig) -> None:
    async def imported(uri: str, **header: object) -> file_pb2.File:
        request = file_pb2.ImportFileRequest(uri=uri, header=file_pb2.FileHeader(**header))  # type: ignore[arg-type]
        return (await rig.stub.ImportFile(request, metadata=ALICE, timeout=DEADLINE)).file

    png = await imported(f"data:image/png;base64,{base64.b64encode(PNG).decode()}", file_name="p", request_id="q")
    assert (png.media_type, png.file_name, (await rig.download(png.id))[1]) == ("image/png", "p", PNG)
    assert (
        await imported(f"data:image/png;base64,{base64.b64encode(PNG).decode()}", file_name="p", request_id="q") == png
    )
    text = await imported("data:,h%C3%A9llo%20you")
    assert (text.media_type, (await rig.download(text.id))[1]) == ("text/plain", "héllo you".encode())
    large = await imported(f"data:application/x-thing;base64,{base64.b64encode(LARGE).decode()}")
    assert (await rig.download(large.id))[1] == LARGE
    for uri, reason in (
        ("https://example.org/a.png", "uri SCHEME"),
        ("data:image/png;base64", "uri MALFORMED"),
        ("data:image/png;base64,@@@", "uri MALFORMED"),
        ("data:," + "x" * (8 * 1024 * 1024), "uri TOO_LONG"),
    ):
        with Refusal(Code.INVALID_ARGUMENT, reason):
            await imported(uri)


async def test_lists_show_the_teams_files_page_by_page(rig: FileRig) -> None:
    files = []
    for number in range(5):
        files.append(await rig.put(b"x" * number, file_name=f"{number}.txt"))
        rig.clock.move(timedelta(seconds=1))
    await rig.put(b"other", BOB)

    async def page(**query: object) -> file_pb2.ListFilesResponse:
        request = file_pb2.ListFilesRequest(**query)  # type: ignore[arg-type]  # the request's fields
        return await rig.stub.ListFiles(request, metadata=READER, timeout=DEADLINE)

    first = await page(page_size=3)
    second = await page(page_size=3, page_token=first.next_page_token)
    assert [*first.files, *second.files] == files[::-1]
    assert second.next_page_token == ""
    assert list((await page(filter="size_bytes >= 3", order_by="size_bytes")).files) == files[3:]
    for wrong in ({"filter": "x x x ="}, {"order_by": "sha256"}, {"page_token": "?"}, {"filter": 'file_name = "\x00"'}):
        with Refusal(Code.INVALID_ARGUMENT):
            await page(**wrong)


# ---------------------------------------------------------------- refused and broken streams


async def test_a_put_that_is_too_large_is_refused(rig: FileRig) -> None:
    with Refusal(Code.INVALID_ARGUMENT, "content TOO_LONG"):
        await rig.put(b"x" * (CHUNK_BYTES + 1))
    assert await nothing_stored(rig)


async def test_bytes_that_differ_from_what_was_declared_are_refused(rig: FileRig) -> None:
    for content in (b"abc", LARGE):
        with Refusal(Code.INVALID_ARGUMENT, "header.size_bytes SIZE_MISMATCH"):
            await rig.upload(content, size_bytes=len(content) - 1)
        with Refusal(Code.INVALID_ARGUMENT, "header.size_bytes SIZE_MISMATCH"):
            await rig.upload(content, size_bytes=len(content) + 1)
        with Refusal(Code.INVALID_ARGUMENT, "header.sha256 SHA256_MISMATCH"):
            await rig.upload(content, sha256="0" * 64)
    with Refusal(Code.INVALID_ARGUMENT) as refusal:
        await rig.put(b"abc", size_bytes=2, sha256="0" * 64)
    assert len([reason for reason in refusal.reasons if "MISMATCH" in reason]) == 2
    assert await nothing_stored(rig)


async def test_a_declared_size_above_the_limit_is_refused_before_any_byte(rig: FileRig) -> None:
    async def requests() -> AsyncIterator[file_pb2.UploadFileRequest]:
        yield file_pb2.UploadFileRequest(header=file_pb2.FileHeader(size_bytes=10 * 1024**3))
        await asyncio.Event().wait()

    with Refusal(Code.OUT_OF_RANGE, "FILE_TOO_LARGE"):
        await rig.stub.UploadFile(requests(), metadata=ALICE, timeout=DEADLINE)


async def test_bytes_above_the_limit_are_refused_as_they_arrive(rig: FileRig) -> None:
    async def requests() -> AsyncIterator[file_pb2.UploadFileRequest]:
        yield file_pb2.UploadFileRequest(header=file_pb2.FileHeader())
        for _ in range(MAX_FILE_BYTES // CHUNK_BYTES + 1):
            yield file_pb2.UploadFileRequest(chunk=bytes(CHUNK_BYTES))
        await asyncio.Event().wait()

    with Refusal(Code.OUT_OF_RANGE, "FILE_TOO_LARGE"):
        await rig.stub.UploadFile(requests(), metadata=ALICE, timeout=DEADLINE)
    assert await nothing_stored(rig)


async def test_a_stream_without_order_is_refused(rig: FileRig) -> None:
    header = file_pb2.UploadFileRequest(header=file_pb2.FileHeader())
    chunk = file_pb2.UploadFileRequest(chunk=b"x")
    too_long = file_pb2.UploadFileRequest(chunk=b"x" * (CHUNK_BYTES + 1))
    for parts, reason in (
        ([], "HEADER_MISSING"),
        ([chunk, header], "HEADER_MISSING"),
        ([header, chunk, header], "HEADER_REPEATED"),
        ([header, chunk, file_pb2.UploadFileRequest()], "HEADER_REPEATED"),
        ([header, too_long], "CHUNK_TOO_LONG"),
    ):
        with Refusal(Code.INVALID_ARGUMENT, f"part {reason}"):
            await rig.stub.UploadFile(iter(parts), metadata=ALICE, timeout=DEADLINE)
    assert await nothing_stored(rig)


async def test_a_cancelled_upload_leaves_nothing(rig: FileRig) -> None:
    async def requests() -> AsyncIterator[file_pb2.UploadFileRequest]:
        async for request in upload_requests(LARGE):
            yield request
        await asyncio.Event().wait()

    call = rig.stub.UploadFile(requests(), metadata=ALICE, timeout=DEADLINE)
    await until(rig.incoming_paths)
    call.cancel()
    await until(lambda: not rig.incoming_paths())
    assert await nothing_stored(rig)


async def test_a_reader_that_leaves_does_no_harm(rig: FileRig) -> None:
    file = await rig.upload(LARGE)
    call = rig.stub.DownloadFile(file_pb2.DownloadFileRequest(file_id=file.id), metadata=ALICE, timeout=DEADLINE)
    assert (await anext(aiter(call))).WhichOneof("part") == "header"
    call.cancel()
    assert (await rig.download(file.id))[1] == LARGE


async def test_damaged_and_missing_bytes_are_data_loss(rig: FileRig) -> None:
    file = await rig.upload(LARGE)
    (path,) = rig.blob_paths()
    path.write_bytes(bytes(len(LARGE)))
    with Refusal(Code.DATA_LOSS, "BLOB_DAMAGED"):
        await rig.download(file.id)
    path.unlink()
    with Refusal(Code.DATA_LOSS, "BLOB_DAMAGED"):
        await rig.download(file.id)


async def test_a_full_disk_is_told_and_leaves_nothing(rig: FileRig) -> None:
    with files_limited_to(1024 * 1024):
        with Refusal(Code.RESOURCE_EXHAUSTED, "DISK_FULL"):
            await rig.upload(LARGE)
        await rig.put(b"small ones still fit")
    assert not rig.incoming_paths()
    assert not rig.blob_paths()
    assert (await rig.download((await rig.upload(LARGE)).id))[1] == LARGE


async def test_uploading_again_heals_a_lost_blob(rig: FileRig) -> None:
    file = await rig.upload(LARGE)
    rig.blob_paths()[0].unlink()
    await rig.upload(LARGE)
    assert (await rig.download(file.id))[1] == LARGE
    assert len(rig.blob_paths()) == 1


# ---------------------------------------------------------------- teams and tokens


async def test_another_teams_file_is_not_found(rig: FileRig) -> None:
    file = await rig.upload(LARGE)
    calls: list[Awaitable[object]] = [rig.get(file.id, BOB), rig.download(file.id, BOB), rig.delete(file.id, BOB)]
    for call in calls:
        with Refusal(Code.NOT_FOUND, "FILE_NOT_FOUND"):
            await call
    for wrong in ("", "nonsense", "\x00", new_id(), file.id.upper()):
        with Refusal(Code.NOT_FOUND, "FILE_NOT_FOUND"):
            await rig.get(wrong)
    assert (await rig.get(file.id, ROOM)).id == file.id


async def test_scopes_and_kinds_are_kept_apart(rig: FileRig) -> None:
    file = await rig.put(b"x")
    assert (await rig.get(file.id, READER)).id == file.id
    with Refusal(Code.PERMISSION_DENIED, "SCOPE_MISSING"):
        await rig.put(b"x", READER)
    with Refusal(Code.PERMISSION_DENIED, "SCOPE_MISSING"):
        await rig.delete(file.id, READER)
    for call in (
        rig.get(file.id, AGENT),
        rig.download(file.id, AGENT),
        rig.put(b"x", AGENT),
        rig.delete(file.id, AGENT),
    ):
        with Refusal(Code.PERMISSION_DENIED, "WRONG_CREDENTIAL_KIND"):
            await call
    request = file_pb2.BindFilesRequest(run_id=new_id())
    for caller in (ALICE, AGENT, rig.token(new_id())):
        with Refusal(Code.PERMISSION_DENIED):
            await rig.stub.BindFiles(request, metadata=caller, timeout=DEADLINE)


async def test_a_token_reads_the_inputs_of_its_run_and_nothing_else(rig: FileRig) -> None:
    given, other, foreign = await rig.put(b"1"), await rig.put(b"2"), await rig.put(b"3", BOB)
    token = rig.token(new_id(), inputs=[given.id, foreign.id])
    assert (await rig.download(given.id, token))[1] == b"1"
    assert (await rig.get(given.id, token)).id == given.id
    for file in (other, foreign):
        with Refusal(Code.NOT_FOUND, "FILE_NOT_FOUND"):
            await rig.download(file.id, token)
        with Refusal(Code.NOT_FOUND, "FILE_NOT_FOUND"):
            await rig.get(file.id, token)
    with Refusal(Code.PERMISSION_DENIED):
        await rig.delete(given.id, token)
    with Refusal(Code.PERMISSION_DENIED):
        await rig.stub.ListFiles(file_pb2.ListFilesRequest(), metadata=token, timeout=DEADLINE)


async def test_a_token_without_a_list_reads_what_is_bound(rig: FileRig) -> None:
    run_id = new_id()
    bound, other = await rig.put(b"1"), await rig.put(b"2")
    await rig.bind(run_id, bound.id)
    token = rig.token(run_id, inputs=None)
    assert (await rig.download(bound.id, token))[1] == b"1"
    assert (await rig.get(bound.id, token)).id == bound.id
    with Refusal(Code.NOT_FOUND):
        await rig.download(other.id, token)


async def test_a_token_stores_outputs_of_its_execution_only(rig: FileRig) -> None:
    run_id = new_id()
    token = rig.token(run_id, attempt=2)
    file = await rig.upload(LARGE, token, origin=output(run_id, attempt=2), file_name="out.bin")
    assert (file.team_id, file.origin.run_id, file.origin.attempt) == (TEAM_A, run_id, 2)
    assert await rig.get(file.id) == await rig.get(file.id, token) == file
    assert await rig.upload(LARGE, token, origin=output(run_id, attempt=2), file_name="out.bin") == file
    assert await rig.put(b"later fetch", token, origin=output(run_id, attempt=2)) == file
    with Refusal(Code.NOT_FOUND):
        await rig.download(file.id, token)
    for origin in (output(new_id(), attempt=2), output(run_id, attempt=1)):
        for call in (rig.put(b"x", token, origin=origin), rig.upload(LARGE, token, origin=origin)):
            with Refusal(Code.NOT_FOUND, "RUN_NOT_FOUND"):
                await call
    for header in ({}, {"origin": output(run_id, attempt=2), "provisional": True}):
        with Refusal(Code.INVALID_ARGUMENT):
            await rig.put(b"x", token, **header)
    with Refusal(Code.INVALID_ARGUMENT, "header.origin NOT_ALLOWED"):
        await rig.put(b"x", origin=output(run_id))
    assert len(rig.blob_paths()) == 1


async def test_a_tokens_limit_counts_all_outputs_of_the_attempt(rig: FileRig) -> None:
    run_id = new_id()
    token = rig.token(run_id, max_bytes=len(LARGE) + 10)
    await rig.upload(LARGE, token, origin=output(run_id, 0))
    for size, declared in ((11, {}), (len(LARGE), {}), (len(LARGE), {"size_bytes": len(LARGE)})):
        with Refusal(Code.RESOURCE_EXHAUSTED, "OUTPUT_LIMIT"):
            await rig.upload(LARGE[:size], token, origin=output(run_id, 1), **declared)
    with Refusal(Code.RESOURCE_EXHAUSTED, "OUTPUT_LIMIT"):
        await rig.put(b"x" * 11, token, origin=output(run_id, 1))
    await rig.put(b"x" * 10, token, origin=output(run_id, 1))
    assert len(rig.blob_paths()) == 1
    assert rig.incoming_paths() == []
    other = rig.token(run_id, attempt=2, max_bytes=11)
    await rig.put(b"x" * 11, other, origin=output(run_id, 1, attempt=2))


async def test_bad_tokens_open_nothing(rig: FileRig) -> None:
    run_id = new_id()
    file = await rig.put(b"x")
    good = rig.token(run_id, inputs=[file.id])
    text = good[0][1]
    tampered: Metadata = (("authorization", text[:-4] + ("AAAA" if not text.endswith("AAAA") else "BBBB")),)
    for token in (
        tampered,
        rig.token(run_id, inputs=[file.id], fleet_id="another"),
        rig.token(run_id, inputs=[file.id], expires_at=rig.clock.now() - timedelta(minutes=1)),
    ):
        with Refusal(Code.UNAUTHENTICATED, "FILE_TOKEN_INVALID"):
            await rig.download(file.id, token)
    await rig.download(file.id, good)
    rig.clock.move(timedelta(minutes=6))
    with Refusal(Code.UNAUTHENTICATED, "FILE_TOKEN_INVALID"):
        await rig.download(file.id, good)


# ---------------------------------------------------------------- bindings


async def test_binding_answers_records_or_every_violation(rig: FileRig) -> None:
    picture, text, foreign = await rig.put(PNG), await rig.put(b"text"), await rig.put(PNG, BOB)
    bound = await rig.bind(run_id := new_id(), picture.id, accept=["image/*"])
    assert [file.id for file in bound.files] == [picture.id]
    assert await rig.bind(run_id, picture.id, accept=["image/*"]) == bound
    answer = await rig.bind(new_id(), picture.id, text.id, foreign.id, "\x00", accept=["image/*"])
    assert [(each.field, each.reason) for each in answer.violations] == [
        ("field-1", "FILE_TYPE_MISMATCH"),
        ("field-2", "FILE_NOT_FOUND"),
        ("field-3", "FILE_NOT_FOUND"),
    ]
    assert not answer.files
    with Refusal(Code.INVALID_ARGUMENT, "run_id MALFORMED"):
        await rig.bind("nonsense", picture.id)
    with Refusal(Code.INVALID_ARGUMENT, "files TOO_MANY"):
        await rig.bind(new_id(), *[picture.id] * 1001)


async def test_a_bound_file_is_kept_for_its_run(rig: FileRig) -> None:
    file, run_id = await rig.put(b"x", provisional=True), new_id()
    assert file.provisional
    assert file.HasField("expire_time")
    await rig.bind(run_id, file.id)
    rig.runs.goes_on(run_id)
    with Refusal(Code.FAILED_PRECONDITION, "FILE_IN_USE"):
        await rig.delete(file.id)
    rig.runs.away = True
    rig.runs.ended(run_id)
    with Refusal(Code.FAILED_PRECONDITION, "FILE_IN_USE"):
        await rig.delete(file.id)
    rig.runs.away = False
    rig.clock.move(PROVISIONAL_FOR * 2)
    assert not (await rig.get(file.id)).provisional
    await rig.delete(file.id)
    with Refusal(Code.NOT_FOUND):
        await rig.get(file.id)


async def test_a_part_of_a_refused_run_can_be_deleted_at_once(rig: FileRig) -> None:
    part = await rig.put(b"x", provisional=True)
    await rig.bind(new_id(), part.id)
    await rig.delete(part.id)
    with Refusal(Code.NOT_FOUND):
        await rig.get(part.id)


async def test_a_provisional_file_is_gone_after_its_time(rig: FileRig) -> None:
    file = await rig.upload(LARGE, provisional=True)
    rig.clock.move(PROVISIONAL_FOR - timedelta(seconds=1))
    await rig.get(file.id)
    rig.clock.move(timedelta(seconds=1))
    with Refusal(Code.NOT_FOUND):
        await rig.get(file.id)
