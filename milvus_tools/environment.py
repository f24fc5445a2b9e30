"""The settings of a deployment, read from environment variables.

| variable | meaning | if unset |
|---|---|---|
| `MILVUS_TOOLS_URI` | a server's address, or a path in `.db` for Milvus Lite | no store |
| `MILVUS_TOOLS_TOKEN` | `user:password` or an API key | none is sent |
| `MILVUS_TOOLS_DB_NAME` | the database | Milvus's default |
| `MILVUS_TOOLS_COLLECTION` | the collection | `LangChainCollection` |
| `MILVUS_TOOLS_TEXT_FIELD` | the field that holds the text | `text` |
| `MILVUS_TOOLS_EMBEDDINGS` | `local`, or `provider:model` | `local` |
| `MILVUS_TOOLS_MODEL` | a chat model, `provider:model` | no model |
| `MILVUS_TOOLS_ALLOW_WRITES` | whether agents and clients may write and delete | `false` |

An empty variable counts as unset.
"""

import dataclasses
import importlib
import os
from collections.abc import Mapping
from typing import Any, Final, Self

from langchain_core.embeddings import Embeddings

from milvus_tools.embeddings import local_embeddings
from milvus_tools.errors import InvalidInputError
from milvus_tools.store import MilvusStore

PREFIX: Final = "MILVUS_TOOLS_"
LOCAL: Final = "local"
NO_URI: Final = (
    f"Set {PREFIX}URI to the address of a Milvus server, or to a path that ends in .db for Milvus "
    "Lite."
)
_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
# OpenAI's model counts tokens with a tokenizer that it downloads, and sends token numbers, which
# other services behind OPENAI_BASE_URL do not take.
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openai": {"check_embedding_ctx_length": False},
}


@dataclasses.dataclass(frozen=True)
class Environment:
    """The settings of a deployment; its representation holds no secret.

    Example:
        ```python
        environment = Environment.read()
        async with environment.store() as store:
            ...
        ```

    Attributes:
        uri: The server's address, or the path of a Milvus Lite file; may hold a password.
        token: What the server asks for.
        db_name: The database.
        collection: The collection.
        text_field: The field that holds the text.
        embeddings: `local`, or `provider:model`.
        model: The chat model, as `provider:model`.
        allow_writes: Whether agents and clients may write and delete.
    """

    uri: str | None = dataclasses.field(default=None, repr=False)
    token: str | None = dataclasses.field(default=None, repr=False)
    db_name: str | None = None
    collection: str | None = None
    text_field: str | None = None
    embeddings: str | None = None
    model: str | None = None
    allow_writes: bool = False

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Self:
        """Read the environment.

        Args:
            variables: The variables; `None` for those of the process.

        Raises:
            InvalidInputError: If `MILVUS_TOOLS_ALLOW_WRITES` is neither true nor false.
        """
        given = os.environ if variables is None else variables
        texts = {
            field.name: given.get(PREFIX + field.name.upper(), "").strip() or None
            for field in dataclasses.fields(cls)
        }
        allow_writes = _boolean("ALLOW_WRITES", texts.pop("allow_writes"))
        return cls(**texts, allow_writes=allow_writes)

    @property
    def names_store(self) -> bool:
        """Whether a variable says which store is meant, though perhaps not all of it."""
        named = (self.uri, self.token, self.db_name, self.collection, self.text_field)
        return any((*named, self.embeddings))

    def store(self, embedding: Embeddings | None = None, **more: Any) -> MilvusStore:
        """Make the store. Blocks, for the embedding model is loaded: call it in a thread.

        Args:
            embedding: The embedding model, if it is loaded already.
            **more: Further arguments of `MilvusStore`, such as `builtin_function`.

        Raises:
            InvalidInputError: If `MILVUS_TOOLS_URI` is unset, or `MILVUS_TOOLS_EMBEDDINGS` is not
                of its form.
            ImportError: If a package of the embedding model is missing; the message names it.
        """
        if self.uri is None:
            raise InvalidInputError(NO_URI)
        arguments = {"uri": self.uri, "token": self.token, "db_name": self.db_name}
        named: dict[str, Any] = {"collection_name": self.collection, "text_field": self.text_field}
        return MilvusStore(
            embedding or self._embedding_model(),
            connection_args=_given(arguments),
            **_given(named),
            **more,
        )

    def required_model(self) -> str:
        """Return the name of the chat model.

        Raises:
            InvalidInputError: If there is none.
        """
        if self.model is None:
            raise InvalidInputError(
                f"Set {PREFIX}MODEL to a chat model: provider:model, such as openai:gpt-5-mini."
            )
        return self.model

    def _embedding_model(self) -> Embeddings:
        name = self.embeddings or LOCAL
        if name == LOCAL:
            return local_embeddings()
        provider, _, model = name.partition(":")
        if not provider or not model:
            raise InvalidInputError(
                f"{PREFIX}EMBEDDINGS must be local or provider:model, such as "
                "openai:text-embedding-3-small."
            )
        try:
            langchain = importlib.import_module("langchain.embeddings")
        except ImportError as error:
            raise ImportError(
                f"{PREFIX}EMBEDDINGS names a provider's model, which needs an extra: "
                'pip install "milvus_tools[agents]"'
            ) from error
        made: Embeddings = langchain.init_embeddings(name, **_OPTIONS.get(provider, {}))
        return made


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value}


def _boolean(name: str, text: str | None) -> bool:
    value = _BOOLEANS.get((text or "false").lower())
    if value is None:
        raise InvalidInputError(f"{PREFIX}{name} must be true or false.")
    return value
