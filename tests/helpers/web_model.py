"""An embedding model behind HTTP: its connections belong to the loop that opened them."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

import httpx
from langchain_core.embeddings import Embeddings

from tests.helpers.support import DIM, embeddings


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(embeddings(DIM).embed_documents(texts)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Say nothing."""


@contextlib.contextmanager
def embedding_service() -> Iterator[str]:
    """Serve embeddings on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class WebModel(Embeddings):
    """A client that keeps its connections open, as those of model providers do."""

    def __init__(self, url: str) -> None:
        """Use a service."""
        self.client = httpx.AsyncClient(base_url=url, trust_env=False)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    def embed_query(self, text: str) -> list[float]:
        """Refuse: a model's async methods are to be used."""
        raise AssertionError("The async method was there.")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Ask the service."""
        answer = await self.client.post("/", json=texts)
        return answer.json()

    async def aembed_query(self, text: str) -> list[float]:
        """Ask the service."""
        (vector,) = await self.aembed_documents([text])
        return vector
