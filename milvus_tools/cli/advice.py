"""The next step after an error of a command."""

import errno
import os
from collections.abc import Mapping
from typing import Final

from milvus_tools.environment import NO_URI
from milvus_tools.errors import (
    AccessError,
    DimensionError,
    PartialWriteError,
    UnavailableError,
)
from milvus_tools.transport.grpc_errors import BAD_URI, NO_DATABASE

_LITE: Final = "Milvus Lite"
_ADVICE: Final[Mapping[type[Exception], str]] = {
    AccessError: "Set MILVUS_TOOLS_TOKEN to user:password, or to an API key.",
    DimensionError: "Set --embeddings, or MILVUS_TOOLS_EMBEDDINGS, to the model that wrote the "
    "collection.",
    PartialWriteError: "Run the same command again to go on.",
    UnavailableError: "Check --uri, or MILVUS_TOOLS_URI, and that the server runs.",
}
# The errors that name an argument of the store, or a variable, which the command has as an option.
_OPTIONS: Final[Mapping[str, str]] = {
    NO_URI: "Or give --uri.",
    BAD_URI: "Set --uri, or MILVUS_TOOLS_URI.",
    NO_DATABASE: "Set --db-name, or MILVUS_TOOLS_DB_NAME.",
}
_FULL: Final = os.strerror(errno.ENOSPC)
_FULL_ADVICE: Final = "Make room on its disk, and run the same command again to go on."
_LITE_ADVICE: Final = "End the process that has the file open, or serve the file over TCP."


def advice(error: Exception) -> str:
    """Return what to do about an error, or `""` if its message says so."""
    if isinstance(error, UnavailableError) and _LITE in str(error):
        return _LITE_ADVICE if "open in another process" in str(error) else ""
    if _FULL in str(error):
        return _FULL_ADVICE
    by_kind = (text for kind, text in _ADVICE.items() if isinstance(error, kind))
    return _OPTIONS.get(str(error)) or next(by_kind, "")
