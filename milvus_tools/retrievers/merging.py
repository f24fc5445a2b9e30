"""From what each query found, or why it failed, to one list."""

import logging
from collections.abc import Mapping
from typing import Final

from langchain_core.documents import Document

from milvus_tools.errors import MilvusToolsError
from milvus_tools.ranking import Hits, fuse
from milvus_tools.retrievers.queries import Query
from milvus_tools.retrievers.search import Outcome
from milvus_tools.retrievers.settings import RetrieverSettings

MAKING: Final = "(making the queries)"

_log = logging.getLogger(__name__)


def merged(
    settings: RetrieverSettings,
    outcomes: Mapping[Query, Outcome],
    k: int,
    not_made: Exception | None,
) -> list[Document]:
    """Fuse what the queries found.

    Args:
        settings: The retriever's settings.
        outcomes: What came of each query.
        k: The most Documents to return.
        not_made: Why there are no queries but the question, if they could not be made.

    Raises:
        Exception: The first failure, if none may be skipped or no query succeeded; a note says
            why none were made.
    """
    found: dict[Query, Hits] = {}
    failed: dict[str, Exception] = {}
    for query, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed[query.text] = outcome
        else:
            found[query] = outcome
    if failed and (settings.on_error == "raise" or not found):
        raise _noted(next(iter(failed.values())), not_made)
    if not_made is not None:
        failed[MAKING] = not_made
    if failed:
        kinds = ", ".join(type(error).__name__ for error in failed.values())
        _log.warning("A retrieval goes on without what failed (%d): %s", len(failed), kinds)
    return _fused(settings, found, failed, k)


def _noted(error: Exception, not_made: Exception | None) -> Exception:
    """Return the error with a note, if the queries could not be made in the first place."""
    if not_made is not None:
        error.add_note(f"Nor could the queries be made: {_said(not_made)}")
        _log.warning(
            "A retrieval failed (%s), and its queries could not be made: %s",
            type(error).__name__,
            type(not_made).__name__,
        )
    return error


def _fused(
    settings: RetrieverSettings,
    found: Mapping[Query, Hits],
    failed: Mapping[str, Exception],
    k: int,
) -> list[Document]:
    return fuse(
        {query.text: hits for query, hits in found.items()},
        k,
        [query.weight for query in found],
        settings.rank_constant,
        key=settings.retrieval_key,
        failed=[{"query": query, "error": _said(error)} for query, error in failed.items()],
    )


def _said(error: Exception) -> str:
    """Say an error, but not what foreign ones might tell of addresses and keys."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, MilvusToolsError) else name
