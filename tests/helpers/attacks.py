"""The payloads of an attacker inside the scope `tenant == "a"`, for all arguments of all methods.

`B_TEXT` and `B_IDS` belong to tenant b. No payload holds `MARK`, so an answer that does is a
leak.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.documents import Document
from pymilvus import Function, FunctionType

from tests.helpers.support import embeddings

MARK = "SECRET-B"
B_TEXT = f"{MARK} what tenant b wrote"
B_IDS = ["b-1", "b-2"]
B_KEYS = ["tenant=%22b%22:b-1", "tenant=%22b%22:b-2"]  # as scoped_ids=True stores them
B_VECTOR = embeddings().embed_query(B_TEXT)

_TAUTOLOGIES = [
    'tenant == "b"',
    'tenant in ["a", "b"]',
    'tenant != "a"',
    'tenant like "b%"',
    'not (tenant == "a")',
    'not tenant in ["a"]',
    'tenant == "a" or tenant == "b"',
    'n == 1 or tenant == "b" and n == 1',
    '$meta["tenant"] == "b"',
    "tenant == 'b'",
    'pk in ["b-1", "b-2"]',
    f'pk in ["{B_KEYS[0]}"]',
    'pk >= ""',
    'text like "SECRET%"',
    "exists tenant",
    "true",
    "1 == 1",
]
_ESCAPES = [
    'n == 1) or (tenant == "b"',
    'n == 1)) or ((tenant == "b"',
    ') or (tenant == "b") or (',
    'n in [1]) or (tenant in ["b"]',
    'n in [1)] or tenant == "b"',
    '") or (tenant == "b") or (pk == "',
    'pk == "x" or tenant == "b',
    'pk == "\\q") or (tenant == "b") or (pk == "\\q"',
    'pk == "\\x22) or (tenant == \\x22b"',
    'pk == "\\u0022) or (tenant == \\u0022b"',
    'pk == "\n") or (tenant == "b") or (pk == "\n"',
    "pk == 'x\\') or (tenant == \"b\") or (pk == 'x'",
    "pk == \"x') or (tenant == 'b\"",
    'pk == "x\\") or (tenant == "b',
    'pk == \\"x) or (tenant == "b\\"',
    'pk == “x”) or (tenant == "b"',
    'pk == `x`) or (tenant == "b"',
    'pk == """x") or (tenant == "b"',
    'n == 1 // )\n or tenant == "b"',
    'n == 1 /* ) or ( */ or tenant == "b"',
    'n == 1 -- )\n) or (tenant == "b"',
    'n == 1; tenant == "b"',
    'n == 1\x00) or (tenant == "b"',
    'n == 1\u2028) or (tenant == "b"',
    "tenant == {other}",
    "pk == '\ud800'",
    "(" * 65 + "n == 1" + ")" * 65,
    "n == 1 1 or " + "a-" * 5_000 + "a == 1",  # R03: what took quadratic time
    "n ===  1",  # R07: what Milvus quotes with the scope
]
EXPRESSIONS: list[Any] = [
    *_TAUTOLOGIES,
    *_ESCAPES,
    ['tenant == "b"'],
    {"tenant": "b"},
    b'tenant == "b"',
    1,
]
_STRANGE_IDS = [
    "x'] or tenant != '' or pk in ['x",
    'x"] or tenant != "" or pk in ["x',
    'x\\"] or tenant != "" or pk in ["x',
    "x\n] or tenant != '' or pk in ['x",
    "%",
    "*",
    "",
    "\u200b",
    ":",
    "a:b-1",
    "&tenant=%22b%22:b-1",
    "b-1\u200d",  # R06: what can't be seen
    "x" * 60_000,  # R05: what weighs as much as a thousand ids
]
IDS: list[Any] = [
    B_IDS[:1],
    B_KEYS[:1],
    *([one] for one in _STRANGE_IDS),
    "b-1",
    'pk in ["b-1"]',
    [["b-1"]],
    [{"tenant": "b"}],
    [True],
    [None],
]
METADATA: list[Any] = [
    {"tenant": "b"},
    {"tenant": "a "},
    {"tenant": ["a"]},
    {"tenant": None},
    {"tenant": True},
    {"tenant": {"tenant": "a"}},
    {"$meta": {"tenant": "b"}},
    {"$meta": '{"tenant": "b"}'},
    {"pk": "b-1"},
    {"pk": "b-1", "tenant": "a"},
    {"text": "y"},
    {"vector": B_VECTOR},
    {'tenant" ': "b"},
    {"tenant\u200b": "b"},
    {"metadata": {"tenant": "b"}},
    {"note": '", "tenant": "b'},
    {1: "b"},
    [("tenant", "b")],
]
DOCUMENTS = [
    *([Document("y", metadata=one)] for one in METADATA if isinstance(one, dict) and 1 not in one),
    *([Document("y", id=ids[0])] for ids in IDS if isinstance(ids[0], str) and len(ids[0]) > 1),
    [Document("y", id="b-1", metadata={"pk": "b-1"})],
    [Document("y", id="a-9"), Document("y", id="b-1")],
    [{"id": "b-1", "page_content": "y"}],
    ["b-1"],
]
PARAMS: list[Any] = [
    {"expr": 'tenant == "b"'},
    {"filter": 'tenant == "b"'},
    {"params": {"expr": 'tenant == "b"'}},
    {"params": {"filter": 'tenant == "b"'}},
    {"params": {"expr_params": {"other": "b"}}},
    {"params": {"group_by_field": "tenant"}},
    {"params": {"partition_names": ["shelf"]}},
    {"params": {"nprobe": '1) or (tenant == "b"'}},
    {"params": {"radius": -2.0, "range_filter": 2.0}},
    {"params": {"iterator": True}},
    {"params": [("expr", 'tenant == "b"')]},
    {"metric_type": "L2"},
    {"anns_field": "vector"},
    {"partition_names": ["shelf"]},
    {"limit": 100, "offset": 0},
    [{"expr": 'tenant == "b"'}],
    [{}, {"expr": 'tenant == "b"'}],
    'tenant == "b"',
]
_RERANKS = [
    Function(
        name="rerank", function_type=FunctionType.RERANK, input_field_names=fields, params=one
    )
    for fields, one in [
        ([], {"reranker": "rrf", "k": 60, "expr": 'tenant == "b"'}),
        ([], {"reranker": "boost", "filter": 'tenant == "b"', "weight": 2.0}),
        (["text"], {"reranker": "model", "provider": "cohere", "queries": [B_TEXT]}),
        (["n"], {"reranker": "decay", "function": "exp", "origin": 1, "scale": 'tenant == "b"'}),
    ]
]
KEYWORDS: list[dict[str, Any]] = [
    {"filter": 'tenant == "b"'},
    {"filter": None, "expr_params": {"other": "b"}},
    {"expr_params": {"other": "b"}},
    {"filter_params": {"other": "b"}},
    {"partition_names": ["shelf"]},
    {"partition_name": "shelf"},
    {"collection_name": "other"},
    {"output_fields": ["*"]},
    {"output_fields": ["vector"]},
    {"search_params": {"expr": 'tenant == "b"'}},
    {"search_params": {"params": {"expr": 'tenant == "b"'}}},
    {"db_name": "default"},
    {"anns_field": "vector"},
    {"data": [B_VECTOR]},
    {"group_by_field": "tenant"},
    {"group_by_field": 'tenant == "b"'},
    {"consistency_level": 'tenant == "b"'},
    {"consistency_level": "Strong"},
    {"guarantee_timestamp": 1},
    *({"reranker": one} for one in _RERANKS),
    {"ranker_type": "weighted", "ranker_params": {"weights": [1.0], "expr": "tenant"}},
    {"offset": 1},
    {"offset": -1},
    {"round_decimal": 1},
    {"ignore_growing": False},
    {"limit": 100},
    {"where": {"tenant": "b"}},
    {"scope": {"tenant": "b"}},
    {"scoped_ids": False},
    {"tenant": "b"},
    {"namespace": "b"},
    {"schema": None},
    {"timeout": 5.0},
    *({"expr": one} for one in EXPRESSIONS),
    *({"param": one} for one in PARAMS),
    *({"ids": one} for one in IDS),
]
SCOPES: list[dict[str, Any]] = [
    {"tenant": "b"},
    {"tenant": ["a", "b"]},
    {"tenant": None},
    {"tenant": True},
    {'tenant == "b" or tenant': "b"},
    {'x"] == "y" or $meta["tenant': "b"},
    {"x": 'y" or tenant != "a'},
    {"$meta": "b"},
    {"vector": "b"},
    {"pk": "b-1"},
    {},
]
FILTERS: list[Any] = [
    {"field": "tenant", "operator": "eq", "value": "b"},
    {"field": 'x"] or tenant == "b" or $meta["x', "operator": "exists", "value": True},
    {"field": "n", "operator": 'ne", "value": 1}', "value": 1},
    {"field": "note", "operator": "eq", "value": 'x" or tenant == "b'},
    {"field": "id", "operator": "in", "value": [*B_IDS, *B_KEYS]},
    {"field": "pk", "operator": "in", "value": [*B_IDS, *B_KEYS]},
    {"field": "['pk']", "operator": "ne", "value": "a-1"},
    {"field": "tenant['x'].y", "operator": "exists", "value": True},
    {"field": "x['] or tenant == 1 or x['']", "operator": "exists", "value": True},
    {"field": "pk", "operator": "prefix", "value": "b"},
    {"field": "text", "operator": "prefix", "value": "SECRET"},
    {"not": {"field": "tenant", "operator": "eq", "value": "a"}},
    {"any": [{"field": "tenant", "operator": "exists"}] * 2},
    [[[[[[{"field": "n", "operator": "exists"}]]]]]],
    'tenant == "b"',
    7,
    [],
]
_NUMBERS = [0, -1, 10**9, True, "4", 4.0, '1) or (tenant == "b"']
# By the name of the argument; every method that has it is given all of them, one at a time.
PAYLOADS: dict[str, list[Any]] = {
    "query": [B_TEXT.lower(), 'tenant == "b"', "", 7, B_VECTOR, ["x"]],
    "search_type": ["mmr", "similarity_score_threshold", 'tenant == "b"', "get_by_ids"],
    "embedding": [B_VECTOR, [B_VECTOR, B_VECTOR], 'tenant == "b"', {"expr": "x"}, {0: 1.0}, []],
    "expr": EXPRESSIONS,
    "ids": IDS,
    "texts": [['", "tenant": "b'], 'tenant == "b"', [7], [B_VECTOR]],
    "metadatas": [[one] for one in METADATA],
    "documents": DOCUMENTS,
    "embeddings": [[B_VECTOR], B_VECTOR, [[B_VECTOR]], ["tenant"], [{"tenant": "b"}]],
    "param": PARAMS,
    "filter": [*FILTERS, *EXPRESSIONS],
    "filter_": FILTERS,
    "order_by": [
        "tenant",
        "vector",
        "$meta",
        'tenant == "b"',
        "id",
        "tenant.x",
        "",
        7,
        ["tenant"],
    ],
    "descending": [True, "b"],
    "allow_dynamic": [False, "b"],
    "fields": [["vector"], ["*"], ["$meta"], ["count(*)"], ['tenant == "b"'], "tenant", [None]],
    "kwargs": KEYWORDS,
    "k": _NUMBERS,
    "fetch_k": _NUMBERS,
    "limit": _NUMBERS,
    "batch_size": _NUMBERS,
    "lambda_mult": [0.0, 1.0, "b", None],
    "timeout": [0, -1, float("nan"), "5", True],
}
_NEAR_B = {"query": B_TEXT}
_AT_B = {"embedding": B_VECTOR}
_NEW = {"texts": ["y"]}
# By the name of the sync method: arguments with which it does something inside the scope.
CALLS: dict[str, dict[str, Any]] = {
    "add_documents": {"documents": [Document("y")]},
    "add_embeddings": {**_NEW, "embeddings": [B_VECTOR]},
    "add_texts": _NEW,
    "count": {},
    "existing_ids": {"ids": ["a-0", "a-1"]},
    "filter_expression": {"filter_": {"field": "n", "operator": "eq", "value": 1}},
    "delete": {"ids": ["a-1"]},
    "get_by_ids": {"ids": ["a-0", "a-1"]},
    "iterate": {},
    "get_pks": {"expr": 'pk != ""'},
    "max_marginal_relevance_search": _NEAR_B,
    "max_marginal_relevance_search_by_vector": _AT_B,
    "schema": {},
    "search": {**_NEAR_B, "search_type": "similarity"},
    "search_by_metadata": {},
    "similarity_search": _NEAR_B,
    "similarity_search_by_vector": _AT_B,
    "similarity_search_with_relevance_scores": _NEAR_B,
    "similarity_search_with_score": _NEAR_B,
    "similarity_search_with_score_by_vector": _AT_B,
    "upsert": {"documents": [Document("y")]},
}
_CHOOSE = ("ids", "expr", "filter")
# Public methods that the matrix does not call, and attributes that it does not read, and why.
ELSEWHERE = {
    "as_retriever": "makes a retriever; a test of its own attacks that",
    "scoped": "makes a view; a test of its own attacks that",
    "scope": "a copy; a test of its own changes it",
    "client": "refused in a scope; a test of its own",
    "alias": "as client",
    "drop": "refused in a scope; a test of its own",
    "from_texts": "refused by a view, and a constructor elsewhere; a test of its own",
    "from_documents": "as from_texts",
    "open": "takes nothing",
    "close": "takes nothing",
    "flush": "takes a deadline alone, and tells nothing",
}


def sync_name(name: str) -> str:
    """Return the name of the sync twin of a method."""
    known = CALLS.keys() | ELSEWHERE.keys()
    return name[1:] if name not in known and name[1:] in known else name


def good(name: str) -> dict[str, Any]:
    """Return arguments with which a method does something inside the scope.

    Raises:
        KeyError: If the method is not in the table.
    """
    return CALLS[name]


def attacks(name: str, method: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Yield the arguments of every attack on a method: one argument is bad, the others good.

    Raises:
        KeyError: If one of the arguments is not in the table.
    """
    parameters = inspect.signature(method).parameters
    named = parameters.keys()
    optional = {key for key in _CHOOSE if key in named and parameters[key].default is None}
    for argument in named:
        rest = good(name)
        if argument in _CHOOSE:  # each must choose alone, or the other would hold it back
            rest = {key: value for key, value in rest.items() if key not in optional}
        for payload in PAYLOADS[argument]:
            if argument != "kwargs":
                yield {**rest, argument: payload}
            elif payload.keys().isdisjoint(named):  # else it has its turn under its own name
                yield {**good(name), **payload}
