"""Users and their tokens as the environment names them, and whose scope a run has."""

import json
import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph_sdk import Auth

from graphs import auth
from graphs.auth import TenantError, authenticate, scope_of
from milvus_tools.users import read_users

TOKEN = "s3cr3t s3cr3t s3cr3t"
USERS = {
    "ann": {"token": TOKEN, "tenant": "acme"},
    "gus": {"token": f"{TOKEN} too", "tenant": "globex"},
}


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name two users."""
    monkeypatch.setattr(auth, "USERS", read_users(json.dumps(USERS)))


def user(**fields: Any) -> Any:
    """Return a user as the server hands one on."""
    return SimpleNamespace(**fields)


def test_users_are_read_by_their_names() -> None:
    """Each has a token, which is not printed, and a tenant."""
    read = read_users(json.dumps(USERS))
    assert {name: one.tenant for name, one in read.items()} == {"ann": "acme", "gus": "globex"}
    assert TOKEN not in repr(read)


@pytest.mark.parametrize("text", ["", "  ", "{}"])
def test_no_text_names_no_users(text: str) -> None:
    """Then authentication is off."""
    assert read_users(text) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"ann:{TOKEN}", "the text: Invalid JSON"),
        (json.dumps([TOKEN]), "the text: Input should be an object"),
        (json.dumps({"ann": TOKEN}), "ann: Input should be an object"),
        (json.dumps({"ann": {"token": TOKEN}}), "ann.tenant: Field required"),
        (json.dumps({"ann": {"token": TOKEN, "tenant": ""}}), "ann.tenant: String should have"),
        (json.dumps({"ann": {"token": TOKEN[:15], "tenant": "a"}}), "ann.token: Value should"),
        (json.dumps({"ann": {**USERS["ann"], "role": TOKEN}}), "ann.role: Extra inputs are not"),
        (json.dumps({"": USERS["ann"]}), "a user has no name."),
        (json.dumps({"ann": USERS["ann"], "bob": USERS["ann"]}), "two users have the same token."),
    ],
)
def test_wrong_users_are_refused_without_their_tokens(text: str, sentence: str) -> None:
    """Neither the message nor the traceback holds one."""
    with pytest.raises(ValueError, match=r"^MILVUS_TOOLS_USERS is wrong: ") as refused:
        read_users(text)
    assert sentence in str(refused.value)
    # The line of the call quotes no value; what an error would print of its input does.
    assert TOKEN[:15] not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_is_its_user_s(users: None, scheme: str) -> None:
    """The scheme may be written as one likes."""
    assert await authenticate(f"{scheme} {TOKEN} too") == {"identity": "gus", "tenant": "globex"}


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}é"]
)
async def test_no_other_token_is_anyone_s(users: None, header: str | None) -> None:
    """With a status that says so, and with letters that are no ASCII, too."""
    with pytest.raises(Auth.exceptions.HTTPException) as refused:
        await authenticate(header)
    assert refused.value.status_code == 401
    assert TOKEN not in str(refused.value.detail)


async def test_without_users_whoever_asks_is_nobody_in_particular() -> None:
    """And has the whole collection."""
    anyone = await authenticate(None)
    assert not anyone["is_authenticated"]
    assert scope_of(user(**anyone)) == {}


@pytest.mark.parametrize("nobody", [None, user(identity=""), user(identity="", tenant="")])
def test_nobody_has_no_scope_only_where_no_users_are(nobody: Any) -> None:
    """A server without authentication hands on no user, or one without an identity."""
    assert scope_of(nobody) == {}


@pytest.mark.parametrize("nobody", [None, user(identity=""), user(identity="", tenant="")])
def test_nobody_is_refused_where_users_are(users: None, nobody: Any) -> None:
    """Authentication was left out of `langgraph.json`, say."""
    with pytest.raises(TenantError):
        scope_of(nobody)


@pytest.mark.parametrize("tenant", [None, "", 7, ["acme"], {"acme": True}])
def test_a_user_without_a_tenant_is_refused(tenant: Any) -> None:
    """Though no users are named: another `Auth` has authenticated this one."""
    with pytest.raises(TenantError, match=r"^The user has no tenant"):
        scope_of(user(identity="ann", tenant=tenant))


def test_the_scope_is_the_user_s_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the field that the deployment names."""
    ann = user(identity="ann", tenant="acme")
    assert scope_of(ann) == {"tenant": "acme"}
    monkeypatch.setattr(auth, "TENANT_FIELD", "org")
    assert scope_of(ann) == {"org": "acme"}
