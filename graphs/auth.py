"""Whom the server lets in, and what is theirs: bearer tokens of users, who belong to tenants.

Off until `MILVUS_TOOLS_USERS` names users, as JSON:

```
MILVUS_TOOLS_USERS={"ann": {"token": "a long random text", "tenant": "acme"}}
```

Each run then reads and writes only entities whose field `MILVUS_TOOLS_TENANT_FIELD` (by default
`tenant`) holds the user's tenant, and each user has their own threads. To ask an identity
provider instead, write an `authenticate` that returns `identity` and `tenant`.
"""

import os
from collections.abc import Mapping
from typing import Any, Final

from langgraph_sdk import Auth

from milvus_tools.users import USERS_VARIABLE, User, is_same_token, read_tenant_field, read_users


class TenantError(RuntimeError):
    """A user has no tenant. A server shows a run's `RuntimeError` to its client."""


USERS: Final[Mapping[str, User]] = read_users(os.environ.get(USERS_VARIABLE, ""))
TENANT_FIELD: Final = read_tenant_field()

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Any:
    """Return the user whose token this is; without users, an unnamed one."""
    if not USERS:
        return {"identity": "", "is_authenticated": False}
    scheme, _, token = (authorization or "").partition(" ")
    known = [
        name for name, user in USERS.items() if is_same_token(token, user.token.get_secret_value())
    ]
    if scheme.lower() != "bearer" or not known:
        raise Auth.exceptions.HTTPException(
            status_code=401, detail="Send a user's token: Authorization: Bearer …"
        )
    return {"identity": known[0], "tenant": USERS[known[0]].tenant}


@auth.on
async def refuse(ctx: Auth.types.AuthContext, value: Any) -> bool:  # noqa: ARG001 - auth.on's form
    """Refuse users what no other handler allows: assistants, crons and a store of their own.

    What one user configures would hold for the runs of others, and a cron's run has no tenant.
    """
    return not USERS


@auth.on.assistants(actions=["read", "search"])
async def offer(ctx: Auth.types.AuthContext, value: Any) -> bool:  # noqa: ARG001 - as above
    """Let all see the graphs that the deployment serves."""
    return True


@auth.on.threads
async def keep_apart(ctx: Auth.types.AuthContext, value: Any) -> dict[str, Any] | None:
    """Give each user their own threads and runs."""
    if not USERS:
        return None
    owner = {"owner": ctx.user.identity}
    if value.get("metadata") is None:
        value["metadata"] = {}
    value["metadata"].update(owner)  # in place: the server keeps this very dictionary
    return owner


def scope_of(user: Any) -> dict[str, str]:
    """Return the field values that hold for all that a user's run reads and writes.

    Args:
        user: The user whom the server authenticated, `runtime.user` of a graph's factory; never
            what a client says of itself.

    Returns:
        The user's tenant; nothing if the deployment has no users, and anyone may use all of it.

    Raises:
        TenantError: If the user has no tenant.
    """
    tenant: object = getattr(user, "tenant", None)
    identity: object = getattr(user, "identity", None)
    if isinstance(tenant, str) and tenant:
        return {TENANT_FIELD: tenant}
    if identity or USERS:
        raise TenantError("The user has no tenant, so nothing may be read or written.")
    return {}
