"""Log records of Milvus Lite that are suppressed."""

import logging
import sys
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from pymilvus.grpc_gen.milvus_pb2_grpc import MilvusServiceServicer


def unknown_to_lite() -> None:
    """Do what Milvus Lite does with a request that it does not know."""
    MilvusServiceServicer().AllocTimestamp(None, Mock())


def unfinished() -> None:
    """Do what a servicer of the application's own may do."""
    raise NotImplementedError


@pytest.mark.parametrize(("serve", "logged"), [(unknown_to_lite, False), (unfinished, True)])
def test_only_milvus_lites_own_refusals_are_kept_quiet(
    serve: Callable[[], None],
    logged: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """GRPC's log of a servicer that fails stays, but for requests that Milvus Lite lacks."""
    logger = logging.getLogger("grpc._server")
    try:
        serve()
    except NotImplementedError:
        logger.log(logging.ERROR, "Exception calling application", exc_info=sys.exc_info())
    assert bool(caplog.records) == logged
