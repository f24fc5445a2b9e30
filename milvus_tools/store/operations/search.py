"""Operations that search: by text, by vector and for diversity, in one vector field or several."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools._io.loop import portal
from milvus_tools.errors import InvalidInputError, UnsupportedError
from milvus_tools.filters.literals import unicode
from milvus_tools.filters.query_filter import FilterLike, QueryFilter
from milvus_tools.ranking import check_mmr_cost, maximal_marginal_relevance
from milvus_tools.schema import DENSE, Field, Schema
from milvus_tools.store import options as opts
from milvus_tools.store.filtering import read_filter
from milvus_tools.store.rankers import ranker
from milvus_tools.store.session import Session
from milvus_tools.store.values import as_array, checked_vectors
from milvus_tools.transport.requests import FieldSearch, Hit, SearchRequest, Vector

Scored = list[tuple[Document, float]]

_ROUNDING = 1e-6  # by which float32 can put a score outside 0 to 1
_SHORT = 200_000  # products of numbers, which take less than a thread does to answer
_NEEDS = {
    "dense": "a dense vector field",
    "sparse": "a sparse vector field",
    "hybrid": "a dense and a sparse vector field",
}


@dataclasses.dataclass(frozen=True)
class SearchArguments:
    """The arguments that all searches share.

    Attributes:
        k: The most Documents to return.
        param: Milvus's search parameters, or a list of them, one per searched field.
        expr: A raw filter expression.
        filter: Conditions or a raw filter expression; joined to `expr` with AND.
        extra: Further keyword arguments of the call, not yet checked.
    """

    k: int
    param: Any
    expr: str | None
    filter: FilterLike
    extra: Mapping[str, Any]


async def similarity_search(session: Session, query: str, arguments: SearchArguments) -> Scored:
    """Search for a text in the store's vector fields; fuse the hits of several."""
    options, filter_ = await _read_text_search(session, query, arguments)
    return await session.with_schema(_similarity_search, [], query, arguments, options, filter_)


async def search_with_relevance(
    session: Session, query: str, arguments: SearchArguments
) -> Scored:
    """Search for a text; return relevance scores in place of distances."""
    options, filter_ = await _read_text_search(session, query, arguments)
    return await session.with_schema(
        _search_with_relevance, [], query, arguments, options, filter_
    )


async def _search_with_relevance(
    session: Session,
    schema: Schema,
    query: str,
    arguments: SearchArguments,
    options: Mapping[str, Any],
    filter_: QueryFilter,
) -> Scored:
    # Refuse a metric without relevance before the embedding is paid for.
    score = _relevance(session, schema, options.get("search_mode"))
    found = await _similarity_search(session, schema, query, arguments, options, filter_)
    return rescored(found, score, options.get("score_key"))


async def relevance(session: Session) -> Callable[[float], float]:
    """Return the function that makes relevance scores of the collection's distances."""

    async def read(session: Session, schema: Schema) -> Callable[[float], float]:
        return _relevance(session, schema, None)

    return await session.with_schema(read, _cosine_relevance)


def rescored(found: Scored, score: Callable[[float], float], key: str | None) -> Scored:
    """Return hits with other scores, also in the metadata if they have them there."""
    scored = [(document, score(distance)) for document, distance in found]
    if key is not None:
        for document, one in scored:
            document.metadata[key] = one
    return scored


async def _read_text_search(
    session: Session, query: str, arguments: SearchArguments
) -> tuple[dict[str, Any], QueryFilter]:
    """Check the arguments of a text search; return its options and its filter."""
    count = len(session.collection.settings.spec.all_vector_fields)
    options = _search_options(session, arguments, count, opts.SEARCH_TEXT)
    if "score_threshold" in options and not opts.is_number(options["score_threshold"]):
        raise InvalidInputError("score_threshold must be a finite number.")
    if count > 1 and options.get("search_mode") is None:
        ranker(options, count)  # raises for a wrong ranker before anything is sent
    filter_ = await read_filter(arguments.filter, arguments.expr)
    if not isinstance(query, str):
        raise InvalidInputError(f"The query must be a string, not {type(query).__name__}.")
    unicode(query)
    return options, filter_


async def _similarity_search(
    session: Session,
    schema: Schema,
    query: str,
    arguments: SearchArguments,
    options: Mapping[str, Any],
    filter_: QueryFilter,
) -> Scored:
    fields = _searched_fields(session, schema, options.get("search_mode"))
    ranking = _ranking(options, len(fields))
    # Each field finds those that the offset skips, too, or a later page would be empty.
    limit = opts.limit_with_offset(arguments.k, options)
    if len(fields) > 1:
        # A hit that is far down in each list can be the best of the fused ones.
        limit = max(limit, options.get("fetch_k", opts.DEFAULT_FETCH_K))
    params = _params_per_field(session, arguments.param, fields)
    expression = await session.expression(schema, filter_)
    # Last, because the model may charge for it: wrong arguments were refused above.
    vectors = await _query_vectors(session, query, schema, fields)
    search = functools.partial(_field_search, session, schema, limit, expression)
    # Not a comprehension: each call would keep a cell for each name used in it.
    given = map(vectors.__getitem__, fields), map(params.__getitem__, fields)
    searches = tuple(map(search, fields, *given))
    if len(fields) > 1:
        _require_no_range_on_lite(session, searches)
    hits = await _hits(session, schema, searches, arguments.k, options, ranking=ranking)
    return _scored(session, schema, hits, options)


async def search_by_vector(session: Session, vector: Vector, arguments: SearchArguments) -> Scored:
    """Search for a vector; the store must have exactly one embedding field."""
    options = _search_options(session, arguments)
    filter_ = await read_filter(arguments.filter, arguments.expr)
    return await session.with_schema(_search_by_vector, [], vector, arguments, options, filter_)


async def _search_by_vector(
    session: Session,
    schema: Schema,
    vector: Vector,
    arguments: SearchArguments,
    options: Mapping[str, Any],
    filter_: QueryFilter,
) -> Scored:
    limit = opts.limit_with_offset(arguments.k, options)
    expression = await session.expression(schema, filter_)
    search = _vector_search(session, schema, vector, limit, arguments.param, expression)
    hits = await _hits(session, schema, (search,), arguments.k, options)
    return _scored(session, schema, hits, options)


async def max_marginal_relevance_search(
    session: Session,
    query: str | Vector,
    arguments: SearchArguments,
    fetch_k: int,
    lambda_mult: float,
) -> list[Document]:
    """Search, then choose hits that are near the query and differ from each other (MMR)."""
    options = _search_options(session, arguments)
    filter_ = await read_filter(arguments.filter, arguments.expr)
    fetch = max(arguments.k, opts.check_limit(fetch_k, options.get("offset", 0), name="fetch_k"))
    if not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
        raise InvalidInputError("lambda_mult must be a number from 0 to 1.")
    return await session.with_schema(
        _max_marginal_relevance_search, [], query, arguments, fetch, lambda_mult, options, filter_
    )


async def _max_marginal_relevance_search(
    session: Session,
    schema: Schema,
    query: str | Vector,
    arguments: SearchArguments,
    fetch: int,
    lambda_mult: float,
    options: Mapping[str, Any],
    filter_: QueryFilter,
) -> list[Document]:
    field = _vector_field(session, schema)
    if field.type not in DENSE:
        raise UnsupportedError("Maximal marginal relevance needs dense vectors.")
    # Before the embedding is paid for.
    check_mmr_cost(arguments.k, fetch, field.dim or 1)
    expression = await session.expression(schema, filter_)
    vector = await _one_vector(session, query, schema)
    limit = opts.limit_with_offset(fetch, options)
    search = _vector_search(session, schema, vector, limit, arguments.param, expression)
    hits = await _hits(session, schema, (search,), fetch, options, (field.name,))

    def pick() -> list[int]:
        found = as_array([row[field.name] for row, _ in hits], field)
        return maximal_marginal_relevance(search.vector, found, lambda_mult, arguments.k)

    # It takes up to a second, and all stores share the I/O loop.
    is_short = len(hits) * (field.dim or 1) * arguments.k < _SHORT
    picked = pick() if is_short else await portal().computing.run(pick)
    chosen = [hits[one] for one in picked]
    return [document for document, _ in _scored(session, schema, chosen, options)]


def _relevance(session: Session, schema: Schema, mode: str | None) -> Callable[[float], float]:
    """Return a function that turns the collection's distances into scores from 0 to 1.

    The metric is the index's, because the store's arguments may name another one (T09). See
    <https://milvus.io/docs/metric.md>.
    """
    fields = _searched_fields(session, schema, mode)
    metric = schema.indexes[fields[0]].metric_type if len(fields) == 1 else "hybrid"
    if metric in ("COSINE", "IP"):  # of unit vectors: -1 to 1
        return _cosine_relevance
    if metric == "L2":  # squared, of unit vectors: 0 to 4
        return lambda distance: _rounded(1 - distance / 4)
    raise UnsupportedError(
        f"There is no relevance score for {metric} searches; use similarity_search_with_score"
        + (", which takes a score_threshold." if metric == "hybrid" else ".")
    )


def _cosine_relevance(distance: float) -> float:
    return _rounded((distance + 1) / 2)


def _search_options(
    session: Session, arguments: SearchArguments, fields: int = 1, known: opts.Known = opts.SEARCH
) -> dict[str, Any]:
    if not arguments.extra:  # as in most calls
        opts.check_limit(arguments.k)
        return {}
    partition = session.partition("partition_names")
    options = opts.allowed(arguments.extra, known, partition=partition)
    if fields == 1:
        opts.refuse_fusion_options(options)
    opts.check_limit(arguments.k, options.get("offset", 0))
    if "fetch_k" in options:
        opts.check_limit(options["fetch_k"], name="fetch_k")
    return options


def _searched_fields(session: Session, schema: Schema, mode: str | None) -> list[str]:
    """Return the vector fields to search.

    Raises:
        InvalidInputError: If the collection lacks a vector field of the store.
        UnsupportedError: If it lacks a kind of vector field that the mode needs.
    """
    functions = session.collection.settings.spec.function_fields
    embeds = bool(session.collection.settings.sources)
    embedded = session.collection.embedder.vector_fields(schema) if embeds else []
    if mode is not None:
        return _fields_of_mode([*embedded, *functions], schema, mode)
    for name in functions:
        if name not in schema.vectors:
            raise InvalidInputError(
                f"The collection has no field {name!r} for a built-in function to fill."
            )
    return [*embedded, *functions]


async def _query_vectors(
    session: Session, query: str, schema: Schema, searched: Sequence[str]
) -> dict[str, Vector]:
    """Return the query's vector for each field; Milvus's functions take the text itself."""
    functions = session.collection.settings.spec.function_fields
    vectors: dict[str, Vector] = dict.fromkeys(functions, query)
    if not vectors.keys() >= set(searched):
        vectors |= await session.collection.embedder.embed_query(query, schema)
    return vectors


async def _one_vector(session: Session, query: str | Vector, schema: Schema) -> Vector:
    if not isinstance(query, str):
        return query
    unicode(query)
    (vector,) = (await session.collection.embedder.embed_query(query, schema)).values()
    return vector


def _vector_search(
    session: Session, schema: Schema, vector: Vector, k: int, param: Any, expression: str
) -> FieldSearch:
    field = _vector_field(session, schema)
    (checked_vector,) = checked_vectors([vector], field, 1)
    params = _params_per_field(session, param, [field.name])
    return _field_search(
        session, schema, k, expression, field.name, checked_vector, params[field.name]
    )


def _vector_field(session: Session, schema: Schema) -> Field:
    fields = session.collection.embedder.vector_fields(schema)
    if len(fields) != 1:
        raise InvalidInputError(
            f"A search by vector needs one embedding model; the store has {len(fields)}."
        )
    return schema.vectors[fields[0]]


def _field_search(
    session: Session,
    schema: Schema,
    limit: int,
    expression: str,
    name: str,
    vector: Vector,
    param: Any,
) -> FieldSearch:
    params = opts.search_params(param, schema.indexes.get(name), limit)
    if opts.ANALYZER in params["params"] and session.collection.connection.lite:
        raise UnsupportedError("Milvus Lite takes no analyzer_name; a server does.")
    return FieldSearch(
        vector=vector,
        field=name,
        params=params,
        limit=limit,
        # In each search, because a hybrid search of Milvus has no filter of its own.
        filter=session.in_scope(schema, expression),
    )


def _params_per_field(session: Session, param: Any, fields: Sequence[str]) -> dict[str, Any]:
    if param is None:
        configured = session.collection.settings.search_params
        return dict(zip(fields, map(configured.get, fields), strict=True))
    params = list(param) if isinstance(param, list | tuple) else [param]
    if len(params) != len(fields) or not all(isinstance(one, Mapping) for one in params):
        raise InvalidInputError(
            f"param must be a dictionary for each of the fields {', '.join(fields)}."
        )
    return dict(zip(fields, params, strict=True))


async def _hits(
    session: Session,
    schema: Schema,
    searches: tuple[FieldSearch, ...],
    limit: int,
    options: Mapping[str, Any],
    more_fields: tuple[str, ...] = (),
    ranking: Any = None,
) -> list[Hit]:
    if "group_by_field" in options:
        opts.check_group_field(options["group_by_field"], schema)
    request = SearchRequest(
        collection_name=session.collection.name,
        searches=searches,
        limit=limit,
        output_fields=(*schema.output_fields, *more_fields),
        ranker=ranking,
        options=session.reading(opts.without_ranking(options) if options else options),
    )
    (hits,) = await session.collection.transport.search([request], session.deadline)
    session.scope.require(row for row, _ in hits)
    return hits


def _scored(
    session: Session, schema: Schema, hits: Sequence[Hit], options: Mapping[str, Any]
) -> Scored:
    mapper = session.collection.mapper(schema)
    fields = options.get("output_fields")
    if fields is not None:
        opts.check_output_fields(fields, schema, mapper.metadata_field)
        fields = None if "*" in fields else fields
    scored = [(mapper.document(row, session.scope, fields), distance) for row, distance in hits]
    id_key, score_key = options.get("id_key"), options.get("score_key")
    for document, distance in scored if id_key or score_key else ():
        if id_key is not None:
            document.metadata[id_key] = document.id
        if score_key is not None:
            document.metadata[score_key] = distance
    lowest = options.get("score_threshold")  # of a ranker's scores, for which higher is better
    return scored if lowest is None else [one for one in scored if one[1] >= lowest]


def _require_no_range_on_lite(session: Session, searches: Sequence[FieldSearch]) -> None:
    """Refuse what Milvus Lite ignores in a search of several fields."""
    ranged = any(name in search.params["params"] for search in searches for name in opts.RANGE)
    if ranged and session.collection.connection.lite:
        raise UnsupportedError(
            "Milvus Lite finds no range (radius, range_filter) in a search of several vector "
            "fields; leave it out, or search one field, as with search_mode."
        )


def _ranking(options: Mapping[str, Any], fields: int) -> Any:
    if fields > 1:
        return ranker(options, fields)
    if options:
        opts.refuse_fusion_options(options)
    return None


def _fields_of_mode(names: Sequence[str], schema: Schema, mode: str) -> list[str]:
    types = {name: schema.vectors[name].type for name in names if name in schema.vectors}
    dense = [name for name, type_ in types.items() if type_ in DENSE]
    sparse = [name for name, type_ in types.items() if type_ is DataType.SPARSE_FLOAT_VECTOR]
    kinds = {"dense": [dense], "sparse": [sparse], "hybrid": [dense, sparse]}[mode]
    if not all(kinds):
        raise UnsupportedError(
            f"A {mode} search needs {_NEEDS[mode]}, in the collection and in the store: "
            "`embedding_function` fills dense fields, `builtin_function` those of BM25."
        )
    return [name for kind in kinds for name in kind]


def _rounded(score: float) -> float:
    """Clip a score that float32 put just outside 0 to 1; leave one that is far outside."""
    nearest = min(1.0, max(0.0, score))
    return nearest if abs(nearest - score) < _ROUNDING else score
