"""Files and multipart runs by REST, in front of scripted rooms."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest_asyncio

from services.common.errors import InvalidArgument, Violation
from tests.rpc.gateway_rig import MAX_FILE_BYTES, Rig, open_rig

BIG = "18446744073709551615"
FORM = {"content-type": "multipart/form-data; boundary=B"}


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as made:
        yield made


def part(name: str, content: bytes, *, file_name: str | None = None, kind: str | None = None) -> bytes:
    """One part of a form with the boundary `B`."""
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{file_name}"' if file_name is not None else ""
    head += f"\r\nContent-Type: {kind}" if kind else ""
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


END = b"--B--\r\n"


async def test_form_s_texts_are_parameters_and_its_files_are_uploaded_in_any_order(rig: Rig) -> None:
    large = bytes(range(256)) * 4000
    body = (
        part("photo", b"small", file_name="a.png", kind="image/png")
        + part("seed", BIG.encode())
        + part("_run", b'{"display_name": "From a form", "metadata": {"n": ' + BIG.encode() + b"}}")
        + part("tag", b"one")
        + part("mask", large, file_name="b.bin")
        + part("tag", b"two")
        + END
    )
    async with rig.http.post(f"{rig.url}/v1/workflows/art/colour/runs", data=body, headers=FORM) as response:
        assert response.status == 201, await response.text()
    asked, files = rig.rooms.runs.created[0], rig.rooms.files
    texts = {key: list(one.values) for key, one in asked.parameters_text.items()}
    assert (texts["seed"], texts["tag"]) == ([BIG], ["one", "two"])
    assert asked.workflow == "art/colour"
    assert asked.display_name == "From a form"
    assert asked.metadata_json == b'{"n":18446744073709551615}'
    photo, mask = texts["photo"][0], texts["mask"][0]
    assert (files.contents[photo], files.contents[mask]) == (b"small", large)
    assert files.headers[photo].provisional
    assert files.headers[mask].provisional
    assert (files.headers[photo].file_name, files.headers[photo].media_type) == ("a.png", "image/png")
    assert max(files.chunk_sizes) <= 256 * 1024
    assert files.deleted == []


async def test_refused_run_deletes_its_files_before_the_answer(rig: Rig) -> None:
    rig.rooms.runs.refusal = InvalidArgument(violations=[Violation("parameters_text.photo", "UNKNOWN", "No.")])
    body = part("photo", b"bytes", file_name="a.png") + END
    async with rig.http.post(f"{rig.url}/v1/workflows/colour/runs", data=body, headers=FORM) as response:
        assert response.status == 400
        assert (await response.json())["violations"][0]["field"] == "parameters.photo"
    assert len(rig.rooms.files.deleted) == 1
    assert rig.rooms.files.contents == {}


async def test_truncated_form_is_400_and_nothing_stays(rig: Rig) -> None:
    whole = part("photo", b"bytes", file_name="a.png") + part("seed", b"1") + END
    for length in (len(whole) - len(END) - 1, len(whole) - 4, len(part("photo", b"bytes", file_name="a.png")) - 4):
        async with rig.http.post(f"{rig.url}/v1/runs", data=whole[:length], headers=FORM) as response:
            assert response.status == 400, length
            assert (await response.json())["reason"] == "MALFORMED_FORM"
    assert rig.rooms.files.contents == {}
    assert rig.rooms.runs.created == []


async def test_truncated_upload_of_a_large_part_is_broken_off(rig: Rig) -> None:
    body = part("photo", b"x" * 600_000, file_name="a.png")[:-2]
    async with rig.http.post(f"{rig.url}/v1/runs", data=body, headers=FORM) as response:
        assert response.status == 400
    await rig.rooms.files.broken_off.wait()
    assert rig.rooms.files.contents == {}


async def test_malformed_form_is_told_in_words_and_not_in_bytes(rig: Rig) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n' + END
    async with rig.http.post(f"{rig.url}/v1/runs", data=body, headers=FORM) as response:
        assert response.status == 400
        detail = (await response.json())["detail"]
    assert detail == "The form is malformed: Segment header failed to decode."


async def test_abused_forms_are_refused(rig: Rig) -> None:
    bodies = [
        b"no boundary at all",
        b"".join(part(f"p{number}", b"") for number in range(2000)) + END,
        b"--B\r\nContent-Disposition: form-data; name=" + b"x" * 1_000_000 + b"\r\n\r\nx\r\n" + END,
        b"--B\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + b"\r\nx\r\n" + END,
        b"--B\r\nContent-Disposition: attachment\r\n\r\nx\r\n" + END,
        part("seed", b"\xff") + END,
        part("seed", b"\x00") + END,
        part("_run", b"{") + END,
        part("_run", b"{}") + part("_run", b"{}") + END,
    ]
    for body in bodies:
        async with rig.http.post(f"{rig.url}/v1/workflows/colour/runs", data=body, headers=FORM) as response:
            assert response.status in (400, 413), body[:60]
            assert response.content_type == "application/problem+json"
    for boundary in ("", "boundary=" + "b" * 200):
        headers = {"content-type": f"multipart/form-data; {boundary}"}
        async with rig.http.post(f"{rig.url}/v1/runs", data=b"x", headers=headers) as response:
            assert response.status == 400
    assert rig.rooms.runs.created == []


async def test_client_that_goes_away_leaves_no_file(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.http_port)
    body = part("photo", b"bytes", file_name="a.png") + part("mask", b"y" * 600_000, file_name="b.png")[:-2]
    head = (
        f"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['content-type']}\r\nContent-Length: 9999999\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await rig.rooms.files.began.wait()
    writer.close()
    await rig.rooms.files.broken_off.wait()
    await rig.rooms.files.gone.wait()
    assert len(rig.rooms.files.deleted) == 1
    assert rig.rooms.files.contents == {}
    assert await reader.read(0) == b""


async def test_declared_ten_gigabytes_are_refused_before_they_come(rig: Rig) -> None:
    for path in ("/v1/files", "/v1/runs"):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.http_port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['content-type']}\r\n"
        writer.write(f"{head}Content-Length: 10000000000\r\n\r\n".encode())
        assert b" 413 " in await reader.readline()
        writer.close()


async def test_client_that_sends_too_much_reads_the_refusal(rig: Rig) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b"z" * 1_000_000

    for headers in ({}, {"content-length": "10000000000"}):
        async with rig.http.post(f"{rig.url}/v1/files", data=endless(), headers=headers) as response:
            assert response.status == 413


async def test_room_that_finds_a_file_too_large_is_413(rig: Rig) -> None:
    rig.rooms.files.max_bytes = 1_000_000
    async with rig.http.post(f"{rig.url}/v1/files", data=io.BytesIO(b"z" * 4_000_000)) as response:
        assert response.status == 413
        assert (await response.json())["reason"] == "FILE_TOO_LARGE"


async def test_uploaded_file_comes_back_whole_and_in_ranges(rig: Rig) -> None:
    content = bytes(range(256)) * 3000
    async with rig.http.post(
        f"{rig.url}/v1/files?file_name=ça.png", data=content, headers={"content-type": "image/png"}
    ) as response:
        assert response.status == 201
        file = await response.json()
    assert (file["file_name"], file["media_type"], file["size_bytes"]) == ("ça.png", "image/png", len(content))
    url, tag = file["url"], f'"{file["sha256"]}"'
    async with rig.http.get(url) as response:
        assert await response.read() == content
        assert response.headers["etag"] == tag
        assert response.headers["accept-ranges"] == "bytes"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-disposition"].startswith("inline")
        assert "filename*=UTF-8''%C3%A7a.png" in response.headers["content-disposition"]
    for asked, expected, shown in (
        ("bytes=0-9", content[:10], f"bytes 0-9/{len(content)}"),
        ("bytes=100-", content[100:], f"bytes 100-{len(content) - 1}/{len(content)}"),
        ("bytes=-5", content[-5:], f"bytes {len(content) - 5}-{len(content) - 1}/{len(content)}"),
    ):
        async with rig.http.get(url, headers={"range": asked}) as response:
            assert (response.status, response.headers["content-range"]) == (206, shown)
            assert await response.read() == expected
    async with rig.http.get(url, headers={"range": f"bytes={len(content)}-"}) as response:
        assert (response.status, response.headers["content-range"]) == (416, f"bytes */{len(content)}")
    for headers in ({"range": "bytes=0-1,3-4"}, {"range": "bytes=0-1", "if-range": '"other"'}):
        async with rig.http.get(url, headers=headers) as response:
            assert (response.status, len(await response.read())) == (200, len(content))
    async with rig.http.get(url, headers={"if-none-match": tag}) as response:
        assert response.status == 304
    async with rig.http.head(url) as response:
        assert (response.status, response.headers["content-length"]) == (200, str(len(content)))


async def test_active_content_is_only_ever_an_attachment(rig: Rig) -> None:
    for kind in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "garbage\r\nx: y", "IMAGE/SVG+XML"):
        file = rig.rooms.files.store(b"<script>", media_type=kind, file_name='x"\r\n<b>.html')
        async with rig.http.get(f"{rig.url}/v1/files/{file.id}/content") as response:
            assert response.headers["content-disposition"].startswith("attachment")
            assert response.headers["content-security-policy"] == "sandbox"
            assert await response.read() == b"<script>"


async def test_outputs_open_by_name_and_by_ordinal(rig: Rig) -> None:
    run = rig.rooms.runs.run
    for ordinal, content in enumerate((b"first", b"second")):
        file = rig.rooms.files.store(content, media_type="image/png")
        run.outputs.add(name=f"picture-{ordinal}.png", ordinal=ordinal, file_id=file.id)
    url = f"{rig.url}/v1/runs/{run.id}/outputs"
    for name, content in (("picture-1.png", b"second"), ("0", b"first")):
        async with rig.http.get(f"{url}/{name}") as response:
            assert await response.read() == content
    async with rig.http.get(f"{url}/9") as response:
        assert response.status == 404


async def test_form_upload_takes_exactly_one_file(rig: Rig) -> None:
    one, two = part("file", b"hello", file_name="h.txt", kind="text/plain"), part("other", b"x", file_name="x")
    async with rig.http.post(f"{rig.url}/v1/files", data=one + END, headers=FORM) as response:
        assert response.status == 201
        assert (await response.json())["file_name"] == "h.txt"
    async with rig.http.post(f"{rig.url}/v1/files", data=one + two + END, headers=FORM) as response:
        assert response.status == 400
    assert len(rig.rooms.files.contents) == 1


async def test_cut_download_is_noticed_by_its_reader(rig: Rig) -> None:
    file = rig.rooms.files.store(b"x" * 4_000_000)
    response = await rig.http.get(f"{rig.url}/v1/files/{file.id}/content")
    await response.content.readexactly(10)
    response.close()
    async with rig.http.get(f"{rig.url}/v1/files/{file.id}/content", headers={"range": "bytes=1-2"}) as again:
        assert await again.read() == b"xx"


async def test_key_makes_the_same_form_upload_the_same_files(rig: Rig) -> None:
    body = part("photo", b"bytes", file_name="a.png") + END
    for _ in range(2):
        headers = {**FORM, "idempotency-key": "again"}
        async with rig.http.post(f"{rig.url}/v1/workflows/colour/runs", data=body, headers=headers) as response:
            assert response.status == 201
    ids = [one.request_id for one in rig.rooms.files.headers.values()]
    assert ids[0] == ids[1] != ""


async def test_upload_limit_leaves_room_for_the_largest_file(rig: Rig) -> None:
    async with rig.http.post(f"{rig.url}/v1/files", data=io.BytesIO(b"z" * MAX_FILE_BYTES)) as response:
        assert response.status == 201


async def test_reader_that_never_reads_is_cut_off() -> None:
    async with open_rig(send_timeout=0.2) as rig:
        file = rig.rooms.files.store(b"x" * 64_000_000)
        _, writer = await asyncio.open_connection("127.0.0.1", rig.http_port, limit=1000)
        writer.write(f"GET /v1/files/{file.id}/content HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await rig.rooms.files.broken_off.wait()
        writer.close()


async def test_file_sent_byte_by_byte_arrives_whole(rig: Rig) -> None:
    content = bytes(range(256)) * 3

    async def drip() -> AsyncIterator[bytes]:
        for byte in content:
            yield bytes([byte])

    async with rig.http.post(f"{rig.url}/v1/files", data=drip()) as response:
        file = await response.json()
    assert rig.rooms.files.contents[file["id"]] == content


async def test_chunks_of_every_size_arrive_whole(rig: Rig) -> None:
    for size in (0, 1, 262_143, 262_144, 262_145, 524_288, 900_001):
        content = bytes(index % 251 for index in range(size))
        async with rig.http.post(f"{rig.url}/v1/files", data=io.BytesIO(content)) as response:
            file = await response.json()
        assert rig.rooms.files.contents[file["id"]] == content
    assert max(rig.rooms.files.chunk_sizes) == 262_144
