"""A scripted service on loopback that speaks OpenAI's API, and fails on demand.

Point a client at `base_url`:

```python
with OpenAIService(["Good morning."], dim=256) as service:
    model = ChatOpenAI(base_url=service.base_url, api_key="any", model="scripted")
```

It runs on an event loop of its own in one thread. Its attributes may be changed while it runs,
and what it recorded may be read at any time.
"""

import asyncio
import collections
import contextlib
import inspect
import itertools
import math
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Self

from tests.helpers.openai_answers import Scripted, as_reply, chunks, completion, embedding_list
from tests.helpers.openai_http import Body, Request, read_request, write_answer, write_stream
from tests.helpers.openai_schema import Problem, request_problems

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
TOO_MANY = 429
DROP = 0  # the status of a connection that is closed without an answer
MAX_INPUTS = 2048  # texts in one request for embeddings, as at OpenAI
_HOST = "127.0.0.1"
_BACKLOG = 1024
_EVERY_PATH = ""
_numbers = itertools.count(1)

Replies = Sequence[Scripted] | Callable[[Body], Scripted | Awaitable[Scripted]]


class _Refused(Exception):  # noqa: N818 - an answer, not a failure
    """An answer other than 200, or none."""

    def __init__(self, status: int, body: Body, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


class OpenAIService:
    """Answers requests for chat completions as scripted, and for embeddings by their texts.

    Args:
        replies: What to answer to chat requests: one after another, or by a function of the
            request's body, which may be async and wait for something.
        dim: The embeddings' dimension, unless a request names one.
        latency: How many seconds every answer takes.
        latency_per_text: How many seconds more an answer takes for each text to embed.
        max_concurrent: How many requests are worked on at once; `None` for all.
        refuse_when_full: Answer 429 to those above `max_concurrent`, rather than let them wait
            in line.
        retry_after: How many seconds a 429 asks to wait.
        numbers_only: Send vectors as numbers though base64 is asked for, as some services do.
        forbidden: A text that no request for embeddings may hold; such a request gets 400.
    """

    def __init__(
        self,
        replies: Replies = (),
        *,
        dim: int = 8,
        latency: float = 0.0,
        latency_per_text: float = 0.0,
        max_concurrent: int | None = None,
        refuse_when_full: bool = False,
        retry_after: float = 0.01,
        numbers_only: bool = False,
        forbidden: str | None = None,
    ) -> None:
        self.dim = dim
        self.latency = latency
        self.latency_per_text = latency_per_text
        self.max_concurrent = max_concurrent
        self.refuse_when_full = refuse_when_full
        self.retry_after = retry_after
        self.numbers_only = numbers_only
        self.forbidden = forbidden
        self.empty = False  # answer 200 without a vector
        self.requests: collections.Counter[str] = collections.Counter()
        self.embedding_inputs: list[list[str]] = []
        self.chat_requests: list[Body] = []
        self.authorizations: list[str | None] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.most_at_work = 0
        self._at_work = 0
        self.reply = replies if callable(replies) else _in_turn(replies)
        self._failures: dict[str, collections.deque[int]] = collections.defaultdict(
            collections.deque
        )
        self._numbers = itertools.count(1)
        self._connections: set[asyncio.Task[None]] = set()
        self._meeting: asyncio.Barrier | None = None

    def fail_next(self, count: int, status: int = TOO_MANY, *, path: str = _EVERY_PATH) -> None:
        """Answer the next requests, of a path or of any, with 429 or 500, or `DROP` them."""
        self._failures[path].extend([status] * count)

    def meet(self, count: int | None) -> None:
        """Answer only when that many requests are at work together; `None` ends it.

        A client that sends fewer at once waits for ever, and so does one whose requests
        `max_concurrent` keeps apart: a test shows by it that calls overlap, and takes no time.
        """
        self._meeting = asyncio.Barrier(count) if count else None

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Serve meanwhile."""
        with self:
            yield self

    def __enter__(self) -> Self:
        """Listen on a free port."""
        listener = socket.create_server((_HOST, 0), backlog=_BACKLOG)
        port = listener.getsockname()[1]
        # A port may come again; LangChain keeps one HTTP client, bound to a loop, per address.
        self.base_url = f"http://{_HOST}:{port}/{next(_numbers)}/v1"
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._stop = asyncio.Event()
        self._room = asyncio.Condition()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="openai-service")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Break all connections, and return when nothing is left."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        with self._runner:
            self._runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            listener.setblocking(False)
            # `asyncio.start_server` loses the connections that it was accepting when it closed.
            loop.add_reader(listener, self._accept, listener)
            await self._stop.wait()
            loop.remove_reader(listener)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        task = asyncio.create_task(self._connect(connection))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: connection.close())  # of a task that never began

    async def _connect(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        gone = contextlib.suppress(ConnectionError, asyncio.IncompleteReadError)
        try:
            with gone:
                while True:
                    await self._answer(await read_request(reader), writer)
        finally:
            writer.transport.abort()
            with gone:
                await writer.wait_closed()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self._record(request)
        answer: Body | Iterator[Body] | _Refused
        try:
            answer = await self._outcome(request)
        except _Refused as refused:
            answer = refused
        finally:
            self.in_flight -= 1
        match answer:
            case _Refused(status=status) if status == DROP:
                raise ConnectionAbortedError
            case _Refused():
                await write_answer(writer, answer.status, answer.body, answer.headers)
            case dict():
                await write_answer(writer, 200, answer, {})
            case _:
                await write_stream(writer, answer)

    def _record(self, request: Request) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.requests[request.path] += 1
        self.authorizations.append(request.headers.get("authorization"))
        if request.path == EMBEDDINGS:
            self.embedding_inputs.append(_texts(request.body))
        elif request.path == CHAT:
            self.chat_requests.append(request.body)

    async def _outcome(self, request: Request) -> Body | Iterator[Body]:
        self._fail_if_told(request.path)
        if request.path not in (EMBEDDINGS, CHAT):
            raise _Refused(404, _error(f"Invalid URL (POST {request.path})"))
        self._check(request)
        async with self._work():
            await asyncio.sleep(self.latency + self.latency_per_text * len(_texts(request.body)))
            if request.path == EMBEDDINGS:
                return self._embeddings(request.body)
            return await self._chat(request.body)

    def _check(self, request: Request) -> None:
        problems = _input_problems if request.path == EMBEDDINGS else request_problems
        for problem in problems(request.body):
            raise _Refused(400, problem.body)
        if self.forbidden in _texts(request.body):
            raise _Refused(400, _error("A text is forbidden."))

    def _fail_if_told(self, path: str) -> None:
        for failures in (self._failures[path], self._failures[_EVERY_PATH]):
            if failures:
                self._fail(failures.popleft())

    def _fail(self, status: int) -> None:
        if status != TOO_MANY:
            raise _Refused(status, _error("The test asked for it.", "server_error"))
        seconds = self.retry_after
        headers = {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(seconds * 1000)}
        raise _Refused(status, _error("Rate limit reached.", "rate_limit_exceeded"), headers)

    @contextlib.asynccontextmanager
    async def _work(self) -> AsyncIterator[None]:
        """Wait in line, and for those whom to meet."""
        if self.refuse_when_full and not self._has_room():
            self._fail(TOO_MANY)
        async with self._room:
            await self._room.wait_for(self._has_room)
            self._at_work += 1
            self.most_at_work = max(self.most_at_work, self._at_work)
        try:
            if self._meeting:
                await self._meeting.wait()
            yield
        finally:
            self._at_work -= 1
            async with self._room:
                self._room.notify()

    def _has_room(self) -> bool:
        return self.max_concurrent is None or self._at_work < self.max_concurrent

    def _embeddings(self, request: Body) -> Body:
        if self.empty:
            return {"error": {"message": "The model is not loaded."}}
        encoding = {"encoding_format": "float"} if self.numbers_only else {}
        return embedding_list(_texts(request), {**request, **encoding}, self.dim)

    async def _chat(self, request: Body) -> Body | Iterator[Body]:
        try:
            scripted = self.reply(request)
            reply = as_reply(await scripted if inspect.isawaitable(scripted) else scripted)
        except Exception as error:  # the client is to hear of it, and not to try again
            raise _Refused(400, _error(f"No scripted reply: {error!r}")) from error
        respond = chunks if request.get("stream") else completion
        return respond(reply, request, next(self._numbers))


def _in_turn(replies: Sequence[Scripted]) -> Callable[[Body], Scripted]:
    left = collections.deque(replies)
    return lambda _: left.popleft()


def _input_problems(body: Body) -> list[Problem]:
    texts = _texts(body)
    right = 0 < len(texts) <= MAX_INPUTS and all(text and isinstance(text, str) for text in texts)
    return [] if right else [Problem("'$.input' is invalid.", "input", None)]


def _texts(body: Body) -> list[str]:
    given = body.get("input", [])
    return [given] if isinstance(given, str) else given


def _error(message: str, code: str | None = None) -> Body:
    kind = code or "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
