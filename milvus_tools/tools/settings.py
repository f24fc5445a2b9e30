"""Settings of the tools: the operator decides them, and no model can change them."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator

from milvus_tools.filters import FieldType
from milvus_tools.filters.literals import Scalar
from milvus_tools.filters.names import path_of
from milvus_tools.schema import DYNAMIC_FIELD
from milvus_tools.store import MilvusStore, ScopedMilvusStore

AnyStore = MilvusStore | ScopedMilvusStore
ScopeFrom = Mapping[str, str] | Callable[[Any], Mapping[str, Scalar]]

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]*")
_LONGEST_NAME: Final = 64  # OpenAI's bound for the name of a function
_LONGEST_VERB: Final = len("search_by_metadata")


@dataclasses.dataclass(frozen=True, init=False)
class FilterField:
    """A field that the model may filter on, and set when it writes.

    Attributes:
        type: The type of its values.
        description: Its meaning, for the model.
    """

    type: FieldType
    description: str

    def __init__(self, type: FieldType | str, description: str = "") -> None:  # noqa: A002
        """Convert the name of a type to the type.

        Raises:
            ValueError: If the type is unknown.
        """
        object.__setattr__(self, "type", FieldType(type))
        object.__setattr__(self, "description", description)


def _fields(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    for name in given:
        path_of(name)  # raises if it is no name
    return {name: _field(one) for name, one in given.items()}


def _field(given: Any) -> FilterField:
    return given if isinstance(given, FilterField) else FilterField(given)


def _named_by(source: ScopeFrom | None) -> AbstractSet[str]:
    return source.keys() if isinstance(source, Mapping) else set()


class ToolSettings(BaseModel):
    """The settings of the tools: their store, their permissions and their bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    store: InstanceOf[MilvusStore] | InstanceOf[ScopedMilvusStore]
    """The store, or a scoped view of it. Its scope holds for every tool."""

    description: str = Field("", max_length=500)
    """The collection's content, for the model: `"paragraphs of Wikipedia"`."""

    filter_fields: Annotated[Mapping[str, FilterField] | None, BeforeValidator(_fields)] = None
    """The fields that the model may filter on: `{"year": "integer"}`, or with a description
    `{"year": FilterField("integer", "the year of publication")}`. A dot leads to a nested key:
    `specs.screen`. `id` means the Document's id, unless it is declared here. `None` means the
    scalar fields of the collection's schema."""

    allow_dynamic: bool = False
    """Whether the model may also filter on other metadata keys. `id` is one of them then, and the
    Document's id is `pk`."""

    nested_filters: bool = False
    """Whether the model may nest filters with `all`, `any` and `not`."""

    allow_raw_filter: bool = False
    """Whether the model may write Milvus filter expressions. They stay within the scope."""

    metadata_fields: Sequence[str] | None = None
    """The metadata keys that the model sees. `None` means all but those of the scope."""

    scope_from: ScopeFrom | None = None
    """The scope that the run's context gives: a mapping from fields to attributes or keys of the
    context (`{"tenant": "tenant_id"}`), or a function that makes the scope from the context. A
    call without these values is refused.

    Trust the context only if your own code sets it. A client that runs the graph over HTTP, as
    with `langgraph dev`, can send any context: use `scope_from_user` there."""

    scope_from_user: ScopeFrom | None = None
    """The scope that the authenticated user gives, for graphs that are served over HTTP: a mapping
    from fields to attributes or keys of the user, or a function that makes the scope from the
    user. A call without these values is refused.

    `@auth.authenticate` returns the user for the request that starts the run
    (`runtime.server_info.user`); a client can't change it. A run that resumes a thread has the
    scope of the user who resumes it. An application that runs the graph itself can pass a user,
    an object with an `identity`, in the run's config:
    `{"configurable": {"langgraph_auth_user": user}}`.

    With both settings, `scope_from` and `scope_from_user` fix different fields, and a call needs
    the values of both."""

    allow_writes: bool = False
    """Whether the toolkit has the tools that write."""

    allow_upsert: bool | None = None
    """Whether the toolkit has the upsert tool. `None` means the value of `allow_writes`."""

    allow_delete: bool | None = None
    """Whether the toolkit has the delete tool. `None` means the value of `allow_writes`."""

    prefix: str = "milvus_"
    """The beginning of the tools' names."""

    suffix: str = ""
    """The end of the tools' names, to distinguish the tools of several collections."""

    k: int = Field(4, ge=1)
    """The number of hits of a search if the model does not set it."""

    link_field: str | None = Field(None, min_length=1)
    """The metadata key of the Documents' titles, to rank the hits of a search by links: 50 are
    fetched for each query, and those move up that a query or another of the best hits names.
    `None` means no ranking by links."""

    max_k: int = Field(20, ge=1, le=1_000)
    """The most hits that the model can ask for."""

    max_queries: int = Field(5, ge=1, le=100)
    """The most queries of one search."""

    limit: int = Field(10, ge=1)
    """The number of Documents of a search by metadata if the model does not set it."""

    max_limit: int = Field(50, ge=1, le=1_000)
    """The most Documents of a search by metadata."""

    max_filters: int = Field(10, ge=1, le=100)
    """The most conditions of one call."""

    max_chars: int = Field(1_000, ge=1)
    """The most characters of a Document's text, and of its metadata, that the model sees."""

    max_total_chars: int = Field(20_000, ge=4_000)
    """The most characters of a whole answer: 20 000 are some 5 000 tokens. A search that found
    more says how many Documents it left out and how to read them; the artifact has them all."""

    max_documents: int = Field(20, ge=1, le=1_000)
    """The most Documents of one upsert."""

    max_text_chars: int = Field(10_000, ge=1, le=65_535)  # Milvus's bound of a VARCHAR
    """The most characters of a text that the model writes."""

    max_delete: int = Field(100, ge=1, le=1_000)
    """The most entities that one call deletes."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other."""
        if self.k > self.max_k or self.limit > self.max_limit:
            raise ValueError("k can't be greater than max_k, nor limit greater than max_limit.")
        length = len(self.prefix) + _LONGEST_VERB + len(self.suffix)
        if not _NAME.fullmatch(self.prefix + self.suffix) or length > _LONGEST_NAME:
            raise ValueError(
                "prefix and suffix can have only letters, digits, _ and -, and the tools' names "
                f"at most {_LONGEST_NAME} characters."
            )
        twice = _named_by(self.scope_from) & _named_by(self.scope_from_user)
        if twice:
            raise ValueError(
                f"scope_from and scope_from_user both fix {', '.join(sorted(twice))}."
            )
        fixed = (self.store.scope.keys() | self.run_fields) & (self.filter_fields or {}).keys()
        if fixed:
            names = ", ".join(sorted(fixed))
            raise ValueError(f"The scope already fixes {names}; filter_fields can't name it.")
        if DYNAMIC_FIELD in (self.filter_fields or {}):
            raise ValueError(f"{DYNAMIC_FIELD} is not a field to filter on; name its keys.")
        return self

    def name(self, verb: str) -> str:
        """Return the name of the tool for a verb."""
        return f"{self.prefix}{verb}{self.suffix}"

    @property
    def needs_run(self) -> bool:
        """Whether the run gives a part of the scope."""
        return self.scope_from is not None or self.scope_from_user is not None

    @property
    def run_fields(self) -> AbstractSet[str]:
        """The fields that the run fixes, as far as they are known before the run."""
        return _named_by(self.scope_from) | _named_by(self.scope_from_user)

    @property
    def upserts(self) -> bool:
        """Whether the toolkit has the upsert tool."""
        return self.allow_writes if self.allow_upsert is None else self.allow_upsert

    @property
    def deletes(self) -> bool:
        """Whether the toolkit has the delete tool."""
        return self.allow_writes if self.allow_delete is None else self.allow_delete
