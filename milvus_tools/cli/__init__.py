"""The command `milvus-tools`: a folder of files becomes answers, without code."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code.

    Args:
        arguments: The arguments; `None` for those of the process.
    """
    try:
        from milvus_tools.cli.app import run  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        name = (error.name or "A package").split(".")[0]
        sys.stderr.write(f'{name} is missing. Run: pip install "milvus_tools[cli]"\n')
        return 1
    return run(arguments)
