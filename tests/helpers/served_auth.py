"""Authentication for `langgraph dev`, in the tests of agents that it serves."""

from typing import Any

from langgraph_sdk import Auth

USERS: dict[str, Any] = {
    "ann": {"identity": "ann", "tenant_id": "acme"},
    "gus": {"identity": "gus", "tenant_id": "globex"},
    "nil": {"identity": "nil"},
    "eve": {"identity": "eve", "tenant_id": ""},
}
"""The users by their tokens."""

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Any:
    """Return the user whose token this is."""
    token = (authorization or "").removeprefix("Bearer ")
    if token not in USERS:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Unknown token")
    return USERS[token]
