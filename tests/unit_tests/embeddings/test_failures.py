"""Messages of embedding clients' errors, and which requests are tried again."""

import asyncio
import datetime as dt
import email.utils
import json
from collections.abc import Mapping

import httpx
import openai
import pytest

from milvus_tools.embeddings.failures import is_invalid, is_transient, retry_after
from milvus_tools.embeddings.retrying import RetryPolicy
from milvus_tools.errors import DimensionError
from tests.helpers.fake_embeddings import StatusError, too_many

REQUEST = httpx.Request("POST", "http://service.test")


def told(name: str, value: object, error: type[Exception] = Exception) -> Exception:
    """Return an error with an attribute."""
    made = error("It failed.")
    setattr(made, name, value)
    return made


def caused(cause: Exception) -> Exception:
    """Return an error that an integration made of its client's."""
    made = RuntimeError("The model failed.")
    made.__cause__ = cause
    return made


def from_openai(status: int) -> openai.APIStatusError:
    """Return an error as OpenAI's client raises it."""
    response = httpx.Response(status, request=REQUEST, headers={"Retry-After": "3"})
    return openai.APIStatusError("It failed.", response=response, body=None)


class Timeout(Exception):  # noqa: N818 - as requests calls it
    """A class of that name."""


TRANSIENT = [
    *[StatusError(status) for status in (408, 429, 500, 502, 503, 504, 529)],
    *[told(name, 503) for name in ("status_code", "status", "code")],
    caused(StatusError(429)),
    caused(caused(ConnectionResetError())),
    from_openai(429),
    openai.APIConnectionError(request=REQUEST),
    openai.APITimeoutError(request=REQUEST),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("late"),
    httpx.RemoteProtocolError("gone"),
    ConnectionRefusedError(),
    TimeoutError(),
    Timeout(),
]
INVALID = [
    *[StatusError(status) for status in (400, 413, 422)],
    from_openai(400),
    ValueError("This text is empty."),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
]
NEITHER = [
    *[StatusError(status) for status in (401, 403, 404)],
    told("code", "rate_limit_exceeded"),
    told("status", 7),
    told("status_code", True),
    json.JSONDecodeError("no JSON", "<html>", 0),
    DimensionError("A vector is missing."),
    TypeError("no text"),
    LookupError("no model"),
    httpx.UnsupportedProtocol("no http"),
]


@pytest.mark.parametrize("error", [*TRANSIENT, *INVALID, *NEITHER], ids=repr)
def test_an_error_is_transient_or_about_a_text_or_neither(error: Exception) -> None:
    """The status says so; without one, the class; an error never is both."""
    assert is_transient(error) == (error in TRANSIENT)
    assert is_invalid(error) == (error in INVALID)


def test_an_error_that_causes_itself_is_read_to_an_end() -> None:
    """Causes that form a ring are no trap."""
    error = Exception("It failed.")
    error.__cause__ = error
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"RETRY-AFTER-MS": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_the_service_says_how_long_to_wait(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    """Milliseconds go first; names are in any case; what makes no sense is passed over."""
    assert retry_after(StatusError(429, headers)) == seconds
    assert retry_after(caused(StatusError(429, headers))) == seconds


def test_the_service_may_name_a_date() -> None:
    """It is as far away as it is."""
    date = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    seconds = retry_after(StatusError(503, {"retry-after": email.utils.format_datetime(date)}))
    assert seconds is not None
    assert 3600 < seconds <= 7200


def test_headers_may_be_the_errors_own() -> None:
    """As aiohttp's are; what is no mapping is none."""
    assert retry_after(told("headers", {"Retry-After": "4"})) == 4.0
    assert retry_after(told("headers", "Retry-After: 4")) is None
    assert retry_after(from_openai(429)) == 3.0


class Service:
    """Raises what it is told to, then answers; keeps how long it was waited for."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.attempts = 0
        self.waits: list[float] = []

    async def call(self, text: str) -> str:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return text.upper()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def answer(self, retries: int = 3, seconds: float = 60.0) -> str:
        """Call by a policy that does not really wait."""
        return await RetryPolicy(retries, seconds, self.sleep).run(self.call, "text")


async def test_what_may_pass_is_tried_again() -> None:
    """As long as the service asks, or else for a growing random time."""
    service = Service(
        StatusError(503), StatusError(429, {"retry-after": "5"}), ConnectionResetError()
    )
    assert await service.answer() == "TEXT"
    first, second, third = service.waits
    assert 0 <= first <= 1
    assert second == 5.0
    assert 0 <= third <= 4


async def test_waits_grow_and_are_bounded() -> None:
    """The most of each is twice that of the one before, up to 20 s."""
    rounds = []
    for _ in range(50):
        service = Service(*[StatusError(500) for _ in range(7)])
        await service.answer(retries=7, seconds=1000)
        rounds.append(service.waits)
    longest = [max(waits) for waits in zip(*rounds, strict=True)]
    for most, bound in zip(longest, [1, 2, 4, 8, 16, 20, 20], strict=True):
        assert bound / 2 < most <= bound


@pytest.mark.parametrize("error", [StatusError(400), StatusError(401), TypeError("no text")])
async def test_what_does_not_pass_is_not_tried_again(error: Exception) -> None:
    """It is raised as it is."""
    service = Service(error)
    with pytest.raises(type(error)) as raised:
        await service.answer()
    assert raised.value is error
    assert service.attempts == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_attempts_are_bounded(retries: int) -> None:
    """After the last, the error is raised as it is."""
    service = Service(*[StatusError(500 + number) for number in range(9)])
    with pytest.raises(StatusError, match=f"Error {500 + retries}"):
        await service.answer(retries)
    assert service.attempts == retries + 1


async def test_a_service_that_asks_for_too_long_is_given_up_at_once() -> None:
    """No attempt is waited for that would come too late."""
    service = Service(StatusError(429, {"retry-after": "61"}))
    with pytest.raises(StatusError):
        await service.answer()
    assert service.waits == []
    assert service.attempts == 1


async def test_time_is_bounded() -> None:
    """After the given time, nothing is tried again."""
    service = Service(too_many(), too_many())
    with pytest.raises(StatusError):
        await service.answer(seconds=1e-9)
    assert service.attempts == 1


async def test_cancelling_ends_the_attempts() -> None:
    """A cancelled call is not tried again."""
    service = Service()
    begun = asyncio.Event()

    async def hang(_: str) -> str:
        begun.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    task = asyncio.create_task(RetryPolicy(3, 60, service.sleep).run(hang, "text"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.waits == []


async def test_calls_at_the_same_time_are_counted_apart() -> None:
    """One policy serves many requests; none uses up the attempts of another."""
    services = [Service(too_many(), too_many()) for _ in range(5)]
    policy = RetryPolicy(2, 60, services[0].sleep)
    assert await asyncio.gather(*(policy.run(one.call, "a") for one in services)) == ["A"] * 5
    assert [one.attempts for one in services] == [3] * 5


@pytest.mark.parametrize(("retries", "seconds"), [(-1, 60), (1.5, 60), (2, 0), (2, -1)])
def test_bounds_that_can_not_be_meant_are_refused(retries: int, seconds: float) -> None:
    """The sentence names the argument."""
    with pytest.raises(ValueError, match=r"retries must be|retry_seconds must be"):
        RetryPolicy(retries, seconds)
