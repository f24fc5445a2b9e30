"""The next step after an error of a command."""

from milvus_tools.cli.advice import advice
from milvus_tools.errors import MilvusError, PartialWriteError


def test_a_full_disk_is_to_be_freed_before_the_command_is_run_again() -> None:
    """Whether a part was written or not."""
    said = "Milvus refused the request: [Errno 28] No space left on device"
    for error in (MilvusError(said), PartialWriteError(f"5 were written: {said}", ["a"])):
        assert advice(error).startswith("Make room on its disk")
    assert advice(MilvusError("Milvus failed.")) == ""
