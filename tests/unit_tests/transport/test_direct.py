"""Searches that servers of some versions would not carry out as they are asked for."""

from typing import Any

import pytest
from pymilvus import Function, FunctionType, RRFRanker

from milvus_tools.errors import UnsupportedError
from milvus_tools.transport.connection import Connection
from milvus_tools.transport.direct import DirectTransport
from milvus_tools.transport.requests import NEVER, FieldSearch, SearchRequest

DECAY = Function("near", FunctionType.RERANK, ["n"], params={"reranker": "decay"})
GROUPED = {"group_by_field": "doc"}


@pytest.mark.parametrize(
    ("fields", "options", "ranker", "said", "since"),
    [
        (2, {}, RRFRanker(), "Hybrid search needs", (2, 4)),
        (1, GROUPED, None, "search with group_by_field needs", (2, 4)),
        (2, GROUPED, RRFRanker(), "Hybrid search with group_by_field needs", (2, 5)),
        (1, {**GROUPED, "group_size": 2}, None, "group_size or strict_group_size needs", (2, 5)),
        (1, {**GROUPED, "strict_group_size": True}, None, "strict_group_size needs", (2, 5)),
        (2, {}, DECAY, "reranker of the type Function needs", (2, 6)),
    ],
)
async def test_r10_no_server_is_asked_for_what_it_would_ignore(
    fields: int, options: dict[str, Any], ranker: Any, said: str, since: tuple[int, int]
) -> None:
    """A version before the first that knows a parameter is told apart, before anything is sent."""
    searches = tuple(FieldSearch([0.0], f"v{n}", {}, 3) for n in range(fields))
    request = SearchRequest("birds", searches, 3, (), ranker, options)
    connection = Connection({"uri": "http://localhost:1"})
    transport = DirectTransport(connection)
    connection.version = (since[0], since[1] - 1)
    with pytest.raises(UnsupportedError, match=rf"{said} Milvus {since[0]}\.{since[1]}"):
        await transport.search([request], NEVER)
    connection.version = since
    with pytest.raises(RuntimeError, match="not open"):  # it would be sent
        await transport.search([request], NEVER)
