"""A small embedding service that speaks OpenAI's API: run it as a process of its own.

It prints its port, and ends when its standard input does. `POST …/embeddings` is OpenAI's;
`PUT /settings` says how slow the service is and sets its counters to 0, which `GET /counters`
reads.
"""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import http
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM = 384
TOO_MANY = 429
_BACKLOG = 2048
_RETRY_SECONDS = "1"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How slow the service is.

    Attributes:
        latency: Seconds per request.
        per_text: Seconds more per text.
        at_most: How many requests are worked on at once; 0 for any number.
        refuses: Whether the others are answered with 429, rather than wait in line.
        forbidden: A text with which a request is answered with 400.
    """

    latency: float = 0.0
    per_text: float = 0.0
    at_most: int = 0
    refuses: bool = False
    forbidden: str = ""


@dataclasses.dataclass
class Counters:
    """What was asked for since the settings were made.

    Attributes:
        requests: Requests for embeddings, refused ones too.
        texts: Texts in them.
        refused: Those answered with 429.
    """

    requests: int = 0
    texts: int = 0
    refused: int = 0


class Service:
    """Answers requests, as slowly as it is told."""

    def __init__(self) -> None:
        """Be as fast as possible."""
        self._set(Settings())

    def _set(self, settings: Settings) -> None:
        self._settings = settings
        self._counters = Counters()
        self._places = asyncio.Semaphore(settings.at_most or sys.maxsize)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until its client leaves, or the service ends."""
        with contextlib.suppress(ConnectionError, EOFError, asyncio.CancelledError):
            while True:
                request = await _read(reader)
                writer.write(_written(*await self._answer(*request)))
                await writer.drain()
        writer.close()

    async def _answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        match method, path:
            case "PUT", "/settings":
                self._set(Settings(**body))
                return 200, {}
            case "GET", "/counters":
                return 200, dataclasses.asdict(self._counters)
            case "POST", _ if path.endswith("/embeddings"):
                return await self._embed(body)
        return 404, {"error": {"message": f"{method} {path} is not known."}}

    async def _embed(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self._counters.requests += 1
        self._counters.texts += len(texts)
        if self._settings.refuses and self._places.locked():
            self._counters.refused += 1
            return TOO_MANY, {"error": {"message": "Rate limit reached.", "type": "requests"}}
        if self._settings.forbidden in texts:
            return 400, {"error": {"message": "A text is forbidden.", "type": "invalid"}}
        async with self._work(len(texts)):
            return 200, _embeddings(texts, in_base64=body.get("encoding_format") == "base64")

    @contextlib.asynccontextmanager
    async def _work(self, texts: int) -> AsyncIterator[None]:
        async with self._places:
            await asyncio.sleep(self._settings.latency + self._settings.per_text * texts)
            yield


def vectors(texts: list[str]) -> NDArray[np.float32]:
    """Return a vector of length 1 per text, `(len(texts), DIM)`, that depends on it alone."""
    noise = b"".join(hashlib.shake_128(text.encode()).digest(DIM) for text in texts)
    rows = np.frombuffer(noise, np.uint8).reshape(-1, DIM).astype(np.float32) - 127.5
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _embeddings(texts: list[str], *, in_base64: bool) -> dict[str, Any]:
    rows = vectors(texts)
    values = [base64.b64encode(row.tobytes()).decode() for row in rows] if in_base64 else None
    return {
        "object": "list",
        "model": "benchmark",
        "data": [
            {"object": "embedding", "index": index, "embedding": value}
            for index, value in enumerate(values or rows.tolist())
        ],
        "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)},
    }


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, Any]]:
    """Read a request: its method, its path, and its JSON body."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split()
    return method, path, json.loads(body or b"{}")


def _written(status: int, body: Any) -> bytes:
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(data)}",
        *([f"retry-after: {_RETRY_SECONDS}"] if status == TOO_MANY else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(Service().connect, "127.0.0.1", 0, backlog=_BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
