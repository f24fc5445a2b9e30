"""A service that takes traces, as LangSmith and OpenTelemetry's collectors do."""

import gzip
import http.server
import json
import threading
from typing import Any, Self


class TraceCollector:
    """Keeps what is posted to it: paths, headers and bodies."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def text(self, path: str) -> str:
        """All that was posted to a path."""
        return "\n".join(
            body.decode("utf-8", "replace") for to, _, body in self.posts if to == path
        )

    def _handler(collector) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: N805 - handlers have a self
        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers LangSmith's question for its features with none."""

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.posts.append((self.path, headers, body))
                self._answer({})

            def _answer(self, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        return Handler
