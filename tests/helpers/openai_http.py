"""HTTP/1.1 as far as the scripted OpenAI service needs it: JSON requests, answers, streams."""

import asyncio
import dataclasses
import http
import json
from collections.abc import Iterable, Mapping
from typing import Any

Body = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """A request with a JSON body."""

    path: str
    """From the API's version on, `/v1/…`: clients may put anything before it."""
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: Body


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read a connection's next request.

    Raises:
        IncompleteReadError: The connection has ended.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    _, version, rest = first.split()[1].partition("/v1")
    return Request(version + rest, headers, json.loads(body or b"{}"))


async def write_answer(
    writer: asyncio.StreamWriter, status: int, body: Body, headers: Mapping[str, str]
) -> None:
    """Answer with a JSON body."""
    data = json.dumps(body).encode()
    kind = {"content-type": "application/json", "content-length": str(len(data))}
    writer.write(_head(status, {**kind, **headers}) + data)
    await writer.drain()


async def write_stream(writer: asyncio.StreamWriter, bodies: Iterable[Body]) -> None:
    """Answer with server-sent events, each in a chunk of its own, as OpenAI ends them."""
    kind = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
    writer.write(_head(200, kind))
    for event in (*map(json.dumps, bodies), "[DONE]"):
        data = f"data: {event}\n\n".encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
