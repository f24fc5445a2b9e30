"""What environment variables say of a deployment, and what is said when they are wrong."""

import pathlib
import re
import sys
from typing import Any

import pytest

from milvus_tools import MilvusStore, MilvusToolsError
from milvus_tools.embeddings import LocalEmbeddings
from milvus_tools.environment import Environment
from milvus_tools.errors import InvalidInputError
from milvus_tools.users import FIELD_VARIABLE, USERS_VARIABLE

ROOT = pathlib.Path(__file__).parents[2]
SECRET = "s3cr3t"
VARIABLES = {
    "MILVUS_TOOLS_URI": f"https://root:{SECRET}@milvus.example:19530",
    "MILVUS_TOOLS_TOKEN": f"root:{SECRET}",
    "MILVUS_TOOLS_DB_NAME": "library",
    "MILVUS_TOOLS_COLLECTION": "books",
    "MILVUS_TOOLS_TEXT_FIELD": "body",
    "MILVUS_TOOLS_EMBEDDINGS": "local",
    "MILVUS_TOOLS_MODEL": "openai:gpt-5-mini",
    "MILVUS_TOOLS_ALLOW_WRITES": "true",
}


def with_(**changed: str) -> dict[str, str]:
    """Return the variables with some of them changed."""
    return {**VARIABLES, **{f"MILVUS_TOOLS_{name}": value for name, value in changed.items()}}


def test_each_variable_is_read() -> None:
    """All eight, under their prefix."""
    assert Environment.read(VARIABLES) == Environment(
        uri=VARIABLES["MILVUS_TOOLS_URI"],
        token=f"root:{SECRET}",
        db_name="library",
        collection="books",
        text_field="body",
        embeddings="local",
        model="openai:gpt-5-mini",
        allow_writes=True,
    )


def test_the_example_names_each_variable() -> None:
    """Those of this module, and those of the graphs' authentication; nothing in it is set."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {match[1] for line in lines if (match := re.match(r"# (MILVUS_TOOLS_\w+)=", line))}
    assert named == {*VARIABLES, USERS_VARIABLE, FIELD_VARIABLE}
    assert all(line.startswith("#") for line in lines if line)


def test_the_process_s_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument, they are those of `os.environ`."""
    monkeypatch.setenv("MILVUS_TOOLS_COLLECTION", "books")
    assert Environment.read().collection == "books"


@pytest.mark.parametrize("variables", [{}, dict.fromkeys(VARIABLES, ""), {"URI": "./a.db"}])
def test_what_is_unset_or_empty_says_nothing(variables: dict[str, str]) -> None:
    """An empty line of a `.env` file, and a name without the prefix."""
    environment = Environment.read(variables)
    assert environment == Environment()
    assert not environment.names_store


@pytest.mark.parametrize(
    "name", ["URI", "TOKEN", "DB_NAME", "COLLECTION", "TEXT_FIELD", "EMBEDDINGS"]
)
def test_one_variable_is_enough_to_mean_a_store(name: str) -> None:
    """So that a setting that is there is never left aside silently."""
    assert Environment.read({f"MILVUS_TOOLS_{name}": "local"}).names_store


@pytest.mark.parametrize("name", ["MODEL", "ALLOW_WRITES"])
def test_the_model_and_the_writes_mean_no_store(name: str) -> None:
    """They hold for whichever store there is."""
    assert not Environment.read({f"MILVUS_TOOLS_{name}": "on"}).names_store


@pytest.mark.parametrize(
    ("text", "value"), [("TRUE", True), (" 1 ", True), ("on", True), ("no", False), ("0", False)]
)
def test_writes_are_allowed_in_several_words(text: str, value: bool) -> None:
    """As people write it in such files."""
    assert Environment.read(with_(ALLOW_WRITES=text)).allow_writes is value


def test_a_word_that_is_neither_allows_no_writes() -> None:
    """It is refused; a slip must not open a collection, nor close it unnoticed."""
    with pytest.raises(InvalidInputError, match=r"^MILVUS_TOOLS_ALLOW_WRITES must be true or"):
        Environment.read(with_(ALLOW_WRITES="maybe"))


def test_no_secret_is_printed() -> None:
    """Neither the token, nor a password in the address."""
    environment = Environment.read(VARIABLES)
    assert SECRET not in f"{environment!r} {environment}"
    assert "books" in repr(environment)


async def test_the_store_is_that_of_the_variables(tmp_path: Any) -> None:
    """Its collection with its text field, its database file, and its embedding model."""
    uri = str(tmp_path / "own.db")
    environment = Environment.read({**with_(URI=uri, TOKEN="", DB_NAME="")})
    store = environment.store()
    assert isinstance(store, MilvusStore)
    assert store.collection_name == "books"
    assert store.text_field == "body"
    assert store._connection_args == {"uri": uri}
    assert isinstance(store.embeddings, LocalEmbeddings)


def test_the_connection_gets_the_token_and_the_database() -> None:
    """They are the client's arguments."""
    store = Environment.read(VARIABLES).store()
    assert store._connection_args == {
        "uri": VARIABLES["MILVUS_TOOLS_URI"],
        "token": f"root:{SECRET}",
        "db_name": "library",
    }


def test_a_provider_s_model_is_made_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends texts as they are, which needs no download."""
    from langchain_openai import OpenAIEmbeddings

    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    store = Environment.read(with_(EMBEDDINGS="openai:text-embedding-3-small")).store()
    assert isinstance(store.embeddings, OpenAIEmbeddings)
    assert store.embeddings.model == "text-embedding-3-small"
    assert not store.embeddings.check_embedding_ctx_length


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"URI": ""}, "Set MILVUS_TOOLS_URI to the address of a Milvus server, or to a path"),
        ({"EMBEDDINGS": SECRET}, "MILVUS_TOOLS_EMBEDDINGS must be local or provider:model"),
        ({"EMBEDDINGS": f":{SECRET}"}, "MILVUS_TOOLS_EMBEDDINGS must be local or provider:model"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changed: dict[str, str], sentence: str) -> None:
    """By its variable, without its value."""
    with pytest.raises(MilvusToolsError, match=f"^{sentence}") as refused:
        Environment.read(with_(**changed)).store()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("package", "embeddings", "extra"),
    [("wordllama", "local", "local"), ("langchain.embeddings", "openai:any", "agents")],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, embeddings: str, extra: str
) -> None:
    """What to install for the model that is asked for."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "milvus_tools\[{extra}\]"'):
        Environment.read(with_(EMBEDDINGS=embeddings)).store()


def test_the_model_that_is_required_is_named() -> None:
    """The one of its variable, else the variable."""
    assert Environment.read(VARIABLES).required_model() == "openai:gpt-5-mini"
    with pytest.raises(InvalidInputError, match=r"^Set MILVUS_TOOLS_MODEL to a chat model"):
        Environment.read({}).required_model()
