"""Users of a deployment: their bearer tokens and tenants, read from environment variables.

| variable | meaning | if unset |
|---|---|---|
| `MILVUS_TOOLS_USERS` | users with tokens and tenants, as JSON | no users |
| `MILVUS_TOOLS_TENANT_FIELD` | the field that holds an entity's tenant | `tenant` |
"""

import hmac
import os
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

USERS_VARIABLE: Final = "MILVUS_TOOLS_USERS"
FIELD_VARIABLE: Final = "MILVUS_TOOLS_TENANT_FIELD"
MIN_TOKEN: Final = 16
"""The fewest characters of a token, which nothing else protects from being guessed."""


class User(BaseModel):
    """A user of the deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr = Field(min_length=MIN_TOKEN)
    tenant: str = Field(min_length=1)


_USERS: Final = TypeAdapter(dict[str, User])


def read_users(text: str) -> dict[str, User]:
    """Read the users by their names; none of no text.

    Raises:
        ValueError: If the text is not of its form, or two users have one token. The message, and
            the error's causes, hold no token.
    """
    try:
        users = _USERS.validate_json(text) if text.strip() else {}
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, one['loc'])) or 'the text'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise ValueError(f"{USERS_VARIABLE} is wrong: {'; '.join(wrong)}.") from None
    if "" in users:
        raise ValueError(f"{USERS_VARIABLE} is wrong: a user has no name.")
    if len({user.token.get_secret_value() for user in users.values()}) < len(users):
        raise ValueError(f"{USERS_VARIABLE} is wrong: two users have the same token.")
    return users


def read_tokens() -> dict[str, dict[str, str]] | None:
    """Return the tokens of the process's users, each with the scope that it gives.

    It is `None` if the environment names no users.

    Raises:
        ValueError: As `read_users`.
    """
    users = read_users(os.environ.get(USERS_VARIABLE, ""))
    field = read_tenant_field()
    tokens = {user.token.get_secret_value(): {field: user.tenant} for user in users.values()}
    return tokens or None


def read_tenant_field(variables: Mapping[str, str] | None = None) -> str:
    """Return the name of the field that holds an entity's tenant.

    Args:
        variables: The environment variables; `None` for those of the process.
    """
    given = os.environ if variables is None else variables
    return given.get(FIELD_VARIABLE, "").strip() or "tenant"


def is_same_token(token: str, secret: str) -> bool:
    """Compare in a time that tells nothing of how much is right."""
    return hmac.compare_digest(token.encode(errors="replace"), secret.encode())
