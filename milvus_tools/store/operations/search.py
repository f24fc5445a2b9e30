"""Searching: by text, by vector, for diversity, in one field or fused over several."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pymilvus import DataType

from milvus_tools._io.loop import portal
from milvus_tools.errors import InvalidInputError, UnsupportedError
from milvus_tools.filters.literals import unicode
from milvus_tools.ranking import check_mmr_cost, maximal_marginal_relevance
from milvus_tools.schema import DENSE, Field, Schema
from milvus_tools.store import options as opts
from milvus_tools.store.rankers import ranker
from milvus_tools.store.session import Operations
from milvus_tools.store.threads import read_expression
from milvus_tools.store.values import as_array, checked_vectors
from milvus_tools.transport.requests import (
    Deadline,
    Hit,
    Route,
    SearchRequest,
    Vector,
)

Scored = list[tuple[Document, float]]

_ROUNDING = 1e-6
_NEEDS = {
    "dense": "a dense vector field",
    "sparse": "a sparse vector field",
    "hybrid": "a dense and a sparse vector field",
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What all searches take.

    Attributes:
        k: The most Documents to return.
        param: Milvus's search parameters, or a list of them, one per searched field.
        expr: A raw filter expression, which the scope is added to.
        extra: Further keyword arguments, of the allow-list.
    """

    k: int
    param: Any = None
    expr: str | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Searches(Operations):
    """Reads that rank."""

    async def search(self, query: str, wanted: Wanted, deadline: Deadline) -> Scored:
        """Search for a text in all vector fields of the store; several are fused."""
        search = await self._search(query, wanted, deadline)
        return await self._collection.with_schema(search, [], deadline)

    async def search_for_relevant(self, query: str, wanted: Wanted, deadline: Deadline) -> Scored:
        """Search as `search` does, with relevance in place of distance."""
        search = await self._search(query, wanted, deadline)

        async def work(schema: Schema) -> Scored:
            mode = wanted.extra.get("search_mode")
            relevance = self._relevance(schema, mode)  # or refuse before the embedding is paid for
            return [(found, relevance(distance)) for found, distance in await search(schema)]

        return await self._collection.with_schema(work, [], deadline)

    async def _search(
        self, query: str, wanted: Wanted, deadline: Deadline
    ) -> Callable[[Schema], Awaitable[Scored]]:
        """Check the arguments of a search for a text, and return how to do it."""
        count = len(self._collection.settings.spec.all_vector_fields)
        options = self._search_options(wanted, count, opts.SEARCH_TEXT)
        mode = options.get("search_mode")
        if count > 1 and mode is None:
            ranker(options, count)  # or refuse before anything is sent
        filter_ = await read_expression(wanted.expr)
        if not isinstance(query, str):
            raise InvalidInputError(f"The query must be a string, not {type(query).__name__}.")
        unicode(query)

        async def search(schema: Schema) -> Scored:
            fields = self._searched_fields(schema, mode)
            ranking = _ranking(options, len(fields))
            reach = opts.limit_with_offset(wanted.k, options)
            if len(fields) > 1:
                reach = max(reach, options.get("fetch_k", opts.DEFAULT_FETCH_K))
            params = self._params_per_field(wanted.param, fields)
            vectors = await self._query_vectors(query, schema, fields)
            routes = tuple(
                self._route(schema, name, vectors[name], params[name], reach, filter_)
                for name in fields
            )
            hits = await self._hits(schema, routes, wanted.k, options, deadline, ranking=ranking)
            return self._scored(schema, hits)

        return search

    async def search_by_vector(self, vector: Vector, wanted: Wanted, deadline: Deadline) -> Scored:
        """Search for a vector in the store's one embedding field."""
        options = self._search_options(wanted)
        filter_ = await read_expression(wanted.expr)

        async def work(schema: Schema) -> Scored:
            reach = opts.limit_with_offset(wanted.k, options)
            route = self._vector_route(schema, vector, reach, wanted.param, filter_)
            hits = await self._hits(schema, (route,), wanted.k, options, deadline)
            return self._scored(schema, hits)

        return await self._collection.with_schema(work, [], deadline)

    async def diverse(
        self,
        query: str | Vector,
        wanted: Wanted,
        fetch_k: int,
        lambda_mult: float,
        deadline: Deadline,
    ) -> list[Document]:
        """Search, and pick hits that are near the query and far from each other (MMR)."""
        options = self._search_options(wanted)
        filter_ = await read_expression(wanted.expr)
        fetch = max(wanted.k, opts.check_limit(fetch_k, options.get("offset", 0), name="fetch_k"))
        if not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
            raise InvalidInputError("lambda_mult must be a number from 0 to 1.")

        async def work(schema: Schema) -> list[Document]:
            field = self._vector_field(schema)
            if field.type not in DENSE:
                raise UnsupportedError("Maximal marginal relevance needs dense vectors.")
            check_mmr_cost(wanted.k, fetch, field.dim or 1)
            vector = await self._one_vector(query, schema)
            reach = opts.limit_with_offset(fetch, options)
            route = self._vector_route(schema, vector, reach, wanted.param, filter_)
            hits = await self._hits(schema, (route,), fetch, options, deadline, (field.name,))

            def pick_hits() -> list[Hit]:
                found = as_array([row[field.name] for row, _ in hits], field)
                return [
                    hits[one]
                    for one in maximal_marginal_relevance(
                        route.vector, found, lambda_mult, wanted.k
                    )
                ]

            picked = await portal().computing.run(pick_hits)  # the loop is everybody's
            return [document for document, _ in self._scored(schema, picked)]

        return await self._collection.with_schema(work, [], deadline)

    def _relevance(self, schema: Schema, mode: str | None) -> Callable[[float], float]:
        """Return what turns the collection's distances into relevance: 0 to 1, 1 the best.

        The metric is read from the index. See <https://milvus.io/docs/metric.md>.
        """
        fields = self._searched_fields(schema, mode)
        metric = schema.indexes[fields[0]].metric_type if len(fields) == 1 else "hybrid"
        if metric in ("COSINE", "IP"):
            return lambda distance: _rounded((distance + 1) / 2)
        if metric == "L2":  # squared, of unit vectors: 0 to 4
            return lambda distance: _rounded(1 - distance / 4)
        raise UnsupportedError(f"There is no relevance score for {metric} searches.")

    def _search_options(
        self, wanted: Wanted, fields: int = 1, known: opts.Known = opts.SEARCH
    ) -> dict[str, Any]:
        partition = self._partition("partition_names")
        options = opts.allowed(wanted.extra, known, partition=partition)
        if fields == 1:
            opts.require_fused(options)
        opts.check_limit(wanted.k, options.get("offset", 0))
        if "fetch_k" in options:
            opts.check_limit(options["fetch_k"], name="fetch_k")
        return options

    def _searched_fields(self, schema: Schema, mode: str | None) -> list[str]:
        """Return the vector fields to search.

        Raises:
            InvalidInputError: If the collection has not those of the store.
            UnsupportedError: If it has none of the kind that the mode wants.
        """
        functions = self._collection.settings.spec.function_fields
        embeds = bool(self._collection.settings.sources)
        embedded = self._collection.vector_fields(schema) if embeds else []
        if mode is not None:
            return _of_mode([*embedded, *functions], schema, mode)
        for name in functions:
            if name not in schema.vectors:
                raise InvalidInputError(
                    f"The collection has no field {name!r} for a built-in function to fill."
                )
        return [*embedded, *functions]

    async def _query_vectors(
        self, query: str, schema: Schema, searched: Sequence[str]
    ) -> dict[str, Vector]:
        """Embed the query for each model's field; functions take the text as it is."""
        functions = self._collection.settings.spec.function_fields
        vectors: dict[str, Vector] = dict.fromkeys(functions, query)
        if not vectors.keys() >= set(searched):
            embedded = await self._collection.embed([query], query=True, schema=schema)
            fields = self._collection.vector_fields(schema)
            vectors |= {name: one for name, (one,) in zip(fields, embedded, strict=True)}
        return vectors

    async def _one_vector(self, query: str | Vector, schema: Schema) -> Vector:
        if not isinstance(query, str):
            return query
        unicode(query)
        ((vector,),) = await self._collection.embed([query], query=True, schema=schema)
        return vector

    def _vector_route(
        self, schema: Schema, vector: Vector, k: int, param: Any, filter_: str
    ) -> Route:
        field = self._vector_field(schema)
        (checked_vector,) = checked_vectors([vector], field, 1)
        params = self._params_per_field(param, [field.name])
        return self._route(schema, field.name, checked_vector, params[field.name], k, filter_)

    def _vector_field(self, schema: Schema) -> Field:
        """Return the store's one embedding field."""
        fields = self._collection.vector_fields(schema)
        if len(fields) != 1:
            raise InvalidInputError(
                f"A search by vector needs one embedding model; the store has {len(fields)}."
            )
        return schema.vectors[fields[0]]

    def _route(
        self, schema: Schema, name: str, vector: Vector, param: Any, limit: int, filter_: str
    ) -> Route:
        return Route(
            vector=vector,
            field=name,
            params=opts.search_params(param, schema.indexes.get(name), limit),
            limit=limit,
            filter=self._filter(schema, filter_),
        )

    def _params_per_field(self, param: Any, fields: Sequence[str]) -> dict[str, Any]:
        if param is None:
            configured = self._collection.settings.search_params
            return {name: configured.get(name) for name in fields}
        params = list(param) if isinstance(param, list | tuple) else [param]
        if len(params) != len(fields) or not all(isinstance(one, Mapping) for one in params):
            raise InvalidInputError(
                f"param must be a dictionary for each of the fields {', '.join(fields)}."
            )
        return dict(zip(fields, params, strict=True))

    async def _hits(
        self,
        schema: Schema,
        routes: tuple[Route, ...],
        limit: int,
        options: Mapping[str, Any],
        deadline: Deadline,
        more_fields: tuple[str, ...] = (),
        ranking: Any = None,
    ) -> list[Hit]:
        request = SearchRequest(
            collection_name=self._collection.name,
            routes=routes,
            limit=limit,
            output_fields=(*schema.output_fields, *more_fields),
            ranker=ranking,
            options=self._reading(opts.without_ranking(options)),
        )
        hits = await self._collection.transport.search(request, deadline)
        self._scope.require(row for row, _ in hits)
        return hits

    def _scored(self, schema: Schema, hits: Sequence[Hit]) -> Scored:
        mapper = self._collection.mapper(schema)
        return [(mapper.document(row, self._scope), distance) for row, distance in hits]


def _ranking(options: Mapping[str, Any], fields: int) -> Any:
    """Return the ranker of several fields' hits, or `None` for one field's."""
    if fields > 1:
        return ranker(options, fields)
    opts.require_fused(options)
    return None


def _of_mode(names: Sequence[str], schema: Schema, mode: str) -> list[str]:
    """Return those fields of the collection that a mode searches.

    Raises:
        UnsupportedError: If there are none, or none of one kind for a hybrid search.
    """
    there = [name for name in names if name in schema.vectors]
    dense = [name for name in there if schema.vectors[name].type in DENSE]
    sparse = [name for name in there if schema.vectors[name].type is DataType.SPARSE_FLOAT_VECTOR]
    wanted = {"dense": [dense], "sparse": [sparse], "hybrid": [dense, sparse]}[mode]
    if not all(wanted):
        raise UnsupportedError(
            f"A {mode} search needs {_NEEDS[mode]}, in the collection and in the store: "
            "`embedding_function` fills dense fields, `builtin_function` those of BM25."
        )
    return [name for kind in wanted for name in kind]


def _rounded(score: float) -> float:
    """Take back what float32 adds beyond 0 and 1."""
    nearest = min(1.0, max(0.0, score))
    return nearest if abs(nearest - score) < _ROUNDING else score
