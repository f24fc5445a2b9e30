"""`python -m milvus_tools.mcp`: serve the store that the environment names."""

import argparse
import sys
from collections.abc import Sequence

from milvus_tools.environment import Environment
from milvus_tools.errors import MilvusToolsError
from milvus_tools.mcp import serve
from milvus_tools.mcp.serving import LOOPBACK, PORT
from milvus_tools.users import read_tokens


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        environment = Environment.read()
        serve(
            environment.store(),
            http=options.http,
            host=options.host,
            port=options.port,
            tokens=read_tokens(),
            hosts=options.allow_host,
            allow_writes=environment.allow_writes,
            allow_dynamic=True,
        )
    except (MilvusToolsError, ImportError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the user of the command
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("milvus_tools.mcp", description=main.__doc__)
    parser.add_argument("--http", action="store_true", help="serve by HTTP, not by stdio")
    parser.add_argument("--host", default=LOOPBACK, help="the address to listen on")
    parser.add_argument("--port", type=int, default=PORT, help="the port")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="a further name of this server"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
