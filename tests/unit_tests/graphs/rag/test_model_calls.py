"""The calls of chat models."""

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from graphs.rag.model_calls import _without_own_timeout

KEY = SecretStr("none")


def test_model_timeout_covers_the_time_between_tokens() -> None:
    """The client's own default, 120 seconds, would come before most values of `model_timeout`."""
    model = ChatOpenAI(api_key=KEY)
    patient = _without_own_timeout(model)
    assert isinstance(patient, ChatOpenAI)
    assert patient.stream_chunk_timeout is None
    assert model.stream_chunk_timeout == pytest.approx(120)


def test_a_limit_between_tokens_that_is_given_stays() -> None:
    """A model without such a limit is left alone."""
    model = ChatOpenAI(api_key=KEY, stream_chunk_timeout=7)
    assert _without_own_timeout(model) is model
    fake = FakeListChatModel(responses=["a"])
    assert _without_own_timeout(fake) is fake
