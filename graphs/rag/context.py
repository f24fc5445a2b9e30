"""The context of a run: its store, its models, and bounds for all its work."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from langchain_core.runnables import Runnable
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from milvus_tools import MilvusStore, ScopedMilvusStore
from milvus_tools.filters import TypedFilter

AnyStore = MilvusStore | ScopedMilvusStore
StoreSource = AnyStore | Callable[[], Any]
ChatModel = Runnable[Any, Any]  # a model: bound, configured, with retries or with fallbacks
ModelSetting = str | SkipJsonSchema[InstanceOf[Runnable[Any, Any]]] | None
Conditions = dict[str, JsonValue] | list[JsonValue]


class Context(BaseModel):
    """The settings of a run beside its question; every number has a bound.

    Example:
        ```python
        context = Context(store=store, model="openai:gpt-5-mini", max_rounds=2)
        await graph.ainvoke({"question": "Who …?"}, context=context)
        ```

    Raises:
        ValueError: If a value can't be, in a sentence for each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Not in the JSON schema: who calls `langgraph dev` over the network can't give an object.
    store: SkipJsonSchema[
        InstanceOf[MilvusStore] | InstanceOf[ScopedMilvusStore] | Callable[[], Any] | None
    ] = Field(None, exclude=True, repr=False)
    """The store, or a function that makes it, async or not: it is called once, in a thread, and
    the store it made is kept for all runs that name the same function. The graph closes neither.
    `None` for the store that the graph was built with, which is the Wikipedia paragraphs of the
    examples by default."""

    model: ModelSetting = None
    """A chat model, or its name for `init_chat_model`: `"openai:gpt-5-mini"`. `None` for the one
    that the graph was built with, beside which a run may give no other; without any, the graph
    plans and answers by rule."""

    planner: ModelSetting = None
    """The model that plans and reflects; `None` for `model`."""

    answerer: ModelSetting = None
    """The model that answers; `None` for `model`."""

    scope: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=20)
    """Field values that every document has which the run may read; a store's own scope and that
    of the graph hold too."""

    filter: Conditions | None = None
    """Conditions that every document fulfils which the run reads: `{"field": "year", "operator":
    "gte", "value": 2000}`, a list of them, or a group. They hold beside the graph's."""

    structured_output: Literal["json_schema", "function_calling", "json_mode"] = "json_schema"
    """By which of its methods the model is asked for a plan; small local ones know the first."""

    search_mode: Literal["dense", "sparse", "hybrid"] | None = None
    """Whether to search by meaning, by words or by both; `None` for all that the store has."""

    paraphrases: int = Field(0, ge=0, le=5)
    """In how many other wordings, by the planner, a sub-question is searched for beside its own;
    they are fused by rank. Not by words alone: those are others then."""

    k: int = Field(10, ge=1, le=100)
    """The most passages that a sub-question's search returns."""

    max_passages: int = Field(10, ge=1, le=50)
    """The most passages that the answer is made from."""

    max_chars: int = Field(2_000, ge=100, le=20_000)
    """The most characters of a passage that are kept and read."""

    max_subquestions: int = Field(8, ge=1, le=32)
    """The most sub-questions of a round, which are searched for at the same time."""

    max_rounds: int = Field(3, ge=1, le=6)
    """The most rounds of searches, the first included."""

    store_timeout: float = Field(120.0, gt=0, le=3_600)
    """Seconds in which the store is made, if it is a function; it is made on for later runs."""

    search_timeout: float = Field(20.0, gt=0, le=600)
    """Seconds for a sub-question's search, further attempts included."""

    retries: int = Field(2, ge=0, le=10)
    """The most retries of a search that failed through no fault of its arguments."""

    model_timeout: float = Field(120.0, gt=0, le=3_600)
    """Seconds for one answer of the model."""

    max_answer_chars: int = Field(8_000, ge=100, le=100_000)
    """The most characters of the model's answer; a longer one is cut."""

    @field_validator("store")
    @classmethod
    def _can_be_kept(cls, store: Any) -> Any:
        """Refuse a function whose store can't be kept for the next run."""
        if callable(store):
            try:
                # The store is kept in a weak dictionary, by the function that made it.
                hash(weakref.ref(store))
            except TypeError as error:
                raise ValueError(
                    "what makes the store must be hashable, as functions are"
                ) from error
        return store

    @field_validator("filter")
    @classmethod
    def _is_filter(cls, given: Conditions | None) -> Conditions | None:
        if given is not None:
            TypedFilter(given)
        return given

    @field_validator("paraphrases")
    @classmethod
    def _fits_search_mode(cls, count: int, info: ValidationInfo) -> int:
        # `info.data` has the fields that are declared above this one.
        if count and info.data.get("search_mode") == "sparse":
            raise ValueError("the search_mode sparse takes no other wordings")
        return count

    def __init__(self, **given: Any) -> None:
        """Check what is given.

        Raises:
            ValueError: If a value can't be.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise ValueError(_sentences(error)) from error

    @property
    def planning_model(self) -> str | ChatModel | None:
        """The model that plans and reflects."""
        return self.model if self.planner is None else self.planner

    @property
    def answering_model(self) -> str | ChatModel | None:
        """The model that answers."""
        return self.model if self.answerer is None else self.answerer

    def over(self, default: Self) -> Self:
        """Return a run's context: the default with what this one says.

        Numbers that the default says are the most that a run may have: it can lower them.

        Raises:
            ValueError: If both fix a model, or one field of the scope, to different values, or
                if what they say together can't be.
        """
        for field, value in default.scope.items():
            if self.scope.get(field, value) != value:
                raise ValueError(f"The scope fixes {field} already.")
        # Else a caller could name any model that the server has keys for.
        for name in ("model", "planner", "answerer"):
            fixed = default.model if getattr(default, name) is None else getattr(default, name)
            if fixed is not None and getattr(self, name) not in (None, fixed):
                raise ValueError("The graph was built with a model, and takes no other.")
        # Only what was given: a default of this class must not replace what the other says.
        given = {name: getattr(default, name) for name in default.model_fields_set}
        said = {name: self._at_most(default, name) for name in self.model_fields_set}
        # `None` leaves open what the graph was built with.
        said = {name: value for name, value in said.items() if value is not None}
        both = {"scope": {**self.scope, **default.scope}, "filter": _all(default, self)}
        return type(self)(**{**given, **said, **both})

    def _at_most(self, default: Self, name: str) -> Any:
        value = getattr(self, name)
        if name in default.model_fields_set and isinstance(value, int | float):
            return min(value, getattr(default, name))
        return value


def _all(*contexts: Context) -> Conditions | None:
    """Join filters: all of them hold."""
    given = [one.filter for one in contexts if one.filter]
    if len(given) < 2:  # noqa: PLR2004
        return given[0] if given else None
    return [{"all": one} if isinstance(one, list) else one for one in given]


def _sentences(error: ValidationError) -> str:
    problems: Mapping[str, str] = {
        str(problem["loc"][0]): problem["msg"] for problem in error.errors(include_url=False)
    }
    return " ".join(f"{name}: {problem}." for name, problem in problems.items())
