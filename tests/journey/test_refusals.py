"""Hostile and broken input: a clear 4xx, nothing stored, nobody hurt."""

import asyncio
import json
from typing import Any

import pytest

from tests.journey.client import Client
from tests.journey.graphs import picture_graph, resize_graph

DEEP = b"[" * 100_000


async def stored_files(client: Client) -> int:
    """How many files the team has (at most a page)."""
    status, page = await client.call("GET", "/v1/files?page_size=1000")
    assert status == 200, page
    return len(page["files"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"graph": NaN}',
        b'{"graph": {"1": {"class_type": "EmptyImage", "inputs": {"width": 1e999}}}}',
        b'{"graph": {"1": {"class_type": "EmptyImage\\u0000", "inputs": {}}}}',
        b'{"graph": {"1": {"class_type": "EmptyImage", "inputs": {"text": "\\ud800"}}}}',
        b'{"display_name": "\\udfff", "graph": {}}',
        b'{"graph": ' + DEEP,
        b'{"graph": {}, "graph": {}}',
        b"\xff\xfe",
        b'{"graph": [1, 2, 3]}',
        b'{"graph": {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}}',
        b'{"graph": {"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}}}}',
        b'{"graph": {"1": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}}}',
        b'{"surprise": true}',
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_malformed_json_is_a_problem_and_stores_nothing(client: Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    status, problem = await client.call("POST", "/v1/runs", data=body, headers=headers)

    assert status == 400, problem
    assert problem["status"] == 400
    assert problem["title"]
    assert problem["request_id"]


async def test_truncated_form_stores_nothing(client: Client) -> None:
    before = await stored_files(client)
    status, made = await client.call("POST", "/v1/workflows", json={"slug": "truncated", "graph": resize_graph()})
    assert status in (201, 409), made
    boundary = "x" * 20
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}

    status, problem = await client.call(
        "POST", "/v1/workflows/truncated/runs", data=head.encode() + b"\xff" * 400_000, headers=headers
    )

    assert status == 400, problem
    assert await stored_files(client) == before


async def test_refused_form_leaves_no_file(client: Client) -> None:
    before = await stored_files(client)
    status, made = await client.call("POST", "/v1/workflows", json={"slug": "refused-form", "graph": resize_graph()})
    assert status in (201, 409), made
    boundary = "y" * 20
    parts = [
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\nnot really\r\n"
        ),
        f'--{boundary}\r\nContent-Disposition: form-data; name="nonsense"\r\n\r\n1\r\n',
        f"--{boundary}--\r\n",
    ]
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}

    status, problem = await client.call(
        "POST", "/v1/workflows/refused-form/runs", data="".join(parts).encode(), headers=headers
    )

    assert status == 400, problem
    assert {violation["field"] for violation in problem["violations"]} == {"parameters.nonsense", "parameters.photo"}
    assert await stored_files(client) == before


async def test_ten_gigabytes_are_refused_before_they_are_sent(client: Client) -> None:
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = client.session.headers["authorization"]
    writer.write(
        f"POST /v1/files?file_name=large.bin HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {key}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {10 * 1024**3}\r\n\r\n".encode()
    )
    await writer.drain()
    async with asyncio.timeout(10):
        status_line = await reader.readline()
    writer.close()
    assert b" 413 " in status_line


async def test_key_is_needed_and_must_be_known(client: Client) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Bearer sk-none_none"}, {"authorization": "Bearer svc-x"}):
        status, problem = await client.call("POST", "/v1/runs", json={"graph": picture_graph()}, headers=headers)
        assert status == 401, problem


async def test_unknown_things_are_not_found(client: Client) -> None:
    missing = "019300a0-0000-7000-8000-000000000000"
    for path in (f"/v1/runs/{missing}", f"/v1/files/{missing}", "/v1/workflows/no-such-thing", "/v1/nowhere"):
        status, problem = await client.call("GET", path)
        assert status == 404, (path, problem)


async def test_same_key_is_one_run_and_another_request_under_it_is_refused(client: Client) -> None:
    graph = picture_graph()
    headers = {"idempotency-key": "journey-once"}
    answers = await asyncio.gather(
        *(client.call("POST", "/v1/runs", json={"graph": graph}, headers=headers) for _ in range(20))
    )
    assert {status for status, _ in answers} <= {200, 201}, answers
    assert len({run["id"] for _, run in answers}) == 1

    status, problem = await client.call("POST", "/v1/runs", json={"graph": picture_graph()}, headers=headers)
    assert status == 409, problem


async def test_nobody_was_hurt(client: Client) -> None:
    run: dict[str, Any] = await client.ended({"graph": picture_graph()})
    assert run["state"] == "SUCCEEDED"
    assert json.dumps(run)
