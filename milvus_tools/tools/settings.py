"""What an operator decides about the tools, before any model sees them."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator

from milvus_tools.filters import FieldType
from milvus_tools.filters.literals import Scalar
from milvus_tools.schema import DYNAMIC_FIELD
from milvus_tools.store import MilvusStore, ScopedMilvusStore

AnyStore = MilvusStore | ScopedMilvusStore
ScopeFrom = Mapping[str, str] | Callable[[Any], Mapping[str, Scalar]]

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]*")
_LONGEST_NAME: Final = 64  # OpenAI's bound on the name of a function
_LONGEST_VERB: Final = len("search_by_metadata")


@dataclasses.dataclass(frozen=True, init=False)
class FilterField:
    """A field that the model may filter on, and set when it writes.

    Attributes:
        type: What it holds.
        description: What it means, for the model.
    """

    type: FieldType
    description: str

    def __init__(self, type: FieldType | str, description: str = "") -> None:  # noqa: A002
        """Know the type by its name, too.

        Raises:
            ValueError: If there is no such type.
        """
        object.__setattr__(self, "type", FieldType(type))
        object.__setattr__(self, "description", description)


def _fields(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    return {name: _field(one) for name, one in given.items()}


def _field(given: Any) -> FilterField:
    return given if isinstance(given, FilterField) else FilterField(given)


def _named_by(source: ScopeFrom | None) -> AbstractSet[str]:
    return source.keys() if isinstance(source, Mapping) else set()


class ToolSettings(BaseModel):
    """What the tools may do, on what, and how much of it at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    store: InstanceOf[MilvusStore] | InstanceOf[ScopedMilvusStore]
    """The store, or a view of it; its scope holds for every tool."""

    description: str = Field("", max_length=500)
    """What the collection holds, for the model: `"paragraphs of Wikipedia"`."""

    filter_fields: Annotated[Mapping[str, FilterField] | None, BeforeValidator(_fields)] = None
    """The fields that the model may filter on: `{"year": "integer"}`, or with a description
    `{"year": FilterField("integer", "the year of publication")}`. `None` for the scalar fields of
    the collection's schema."""

    allow_dynamic: bool = False
    """Whether the model may name other keys of the metadata, too."""

    nested_filters: bool = False
    """Whether filters may be nested by all, any and not."""

    allow_raw_filter: bool = False
    """Whether the model may write Milvus expressions, which the scope still holds."""

    metadata_fields: Sequence[str] | None = None
    """The metadata that the model sees; `None` for all but the scope's."""

    scope_from: ScopeFrom | None = None
    """Which attribute or key of the run's context is the value of which field
    (`{"tenant": "tenant_id"}`), or a function of the context. A call without them is refused.

    Trust the context only where your own code sets it. A client that runs the graph over HTTP, as
    with `langgraph dev`, sends any context it likes: use `scope_from_user` there."""

    scope_from_user: ScopeFrom | None = None
    """Which attribute or key of the authenticated user is the value of which field, or a function
    of the user, for graphs that are served over HTTP. A call without them is refused.

    The user is what `@auth.authenticate` returned for the request that makes the run
    (`runtime.server_info.user`), and nothing that a client sends changes it. A run that resumes a
    thread has the scope of the user who resumes it. An application that runs the graph itself
    can pass a user, an object with an `identity`, in the run's config:
    `{"configurable": {"langgraph_auth_user": user}}`.

    Beside `scope_from`, each fixes its own fields, and a call needs both."""

    allow_writes: bool = False
    """Whether the tools that write are there at all."""

    allow_upsert: bool | None = None
    """Whether `upsert` is there; `None` for what `allow_writes` says."""

    allow_delete: bool | None = None
    """Whether `delete` is there; `None` for what `allow_writes` says."""

    prefix: str = "milvus_"
    """What the tools' names begin with."""

    suffix: str = ""
    """What the tools' names end with, to tell collections apart."""

    k: int = Field(4, ge=1)
    """How many hits a search returns if the model does not say."""

    max_k: int = Field(20, ge=1, le=1_000)
    """The most hits that the model can ask for."""

    max_queries: int = Field(5, ge=1, le=100)
    """The most queries of one search."""

    limit: int = Field(10, ge=1)
    """How many Documents a search by metadata returns if the model does not say."""

    max_limit: int = Field(50, ge=1, le=1_000)
    """The most Documents of a search by metadata."""

    max_filters: int = Field(10, ge=1, le=100)
    """The most conditions of one call."""

    max_chars: int = Field(1_000, ge=1)
    """The most characters of a Document's text that the model sees, and of its metadata."""

    max_documents: int = Field(20, ge=1, le=1_000)
    """The most Documents of one upsert."""

    max_text_chars: int = Field(10_000, ge=1, le=65_535)
    """The most characters of a text that the model writes."""

    max_delete: int = Field(100, ge=1, le=1_000)
    """The most entities that one call deletes."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other."""
        if self.k > self.max_k or self.limit > self.max_limit:
            raise ValueError("k and limit can't be more than max_k and max_limit.")
        length = len(self.prefix) + _LONGEST_VERB + len(self.suffix)
        if not _NAME.fullmatch(self.prefix + self.suffix) or length > _LONGEST_NAME:
            raise ValueError(
                "prefix and suffix may have letters, digits, _ and -, and the tools' names "
                f"{_LONGEST_NAME} characters in all."
            )
        twice = _named_by(self.scope_from) & _named_by(self.scope_from_user)
        if twice:
            raise ValueError(
                f"scope_from and scope_from_user both fix {', '.join(sorted(twice))}."
            )
        fixed = (self.store.scope.keys() | self.run_fields) & (self.filter_fields or {}).keys()
        if fixed:
            raise ValueError(f"The scope fixes {', '.join(sorted(fixed))} already.")
        if DYNAMIC_FIELD in (self.filter_fields or {}):
            raise ValueError(f"{DYNAMIC_FIELD} is no field to filter on; name its keys.")
        return self

    def name(self, verb: str) -> str:
        """Return a tool's name."""
        return f"{self.prefix}{verb}{self.suffix}"

    @property
    def needs_run(self) -> bool:
        """Whether the run says a part of the scope."""
        return self.scope_from is not None or self.scope_from_user is not None

    @property
    def run_fields(self) -> AbstractSet[str]:
        """The fields that the run fixes, as far as they are known before it."""
        return _named_by(self.scope_from) | _named_by(self.scope_from_user)

    @property
    def upserts(self) -> bool:
        """Whether the upsert tool is there."""
        return self.allow_writes if self.allow_upsert is None else self.allow_upsert

    @property
    def deletes(self) -> bool:
        """Whether the delete tool is there."""
        return self.allow_writes if self.allow_delete is None else self.allow_delete
