"""Reading `connection_args`."""

import pathlib
from typing import Any

import pytest

from milvus_tools.errors import InvalidInputError
from milvus_tools.store.connection_args import read_connection_args


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, {}),
        ({}, {}),
        ({"uri": "http://h:1/db"}, {"uri": "http://h:1/db"}),
        ({"host": "h"}, {"uri": "http://h:19530"}),
        ({"port": "1"}, {"uri": "http://localhost:1"}),
        ({"host": "h", "port": 1, "token": "t"}, {"uri": "http://h:1", "token": "t"}),
        ({"host": "::1", "port": 1}, {"uri": "http://[::1]:1"}),
        ({"address": "h:1"}, {"uri": "http://h:1"}),
        ({"address": "[::1]:1"}, {"uri": "http://[::1]:1"}),
        ({"uri": None, "host": "h"}, {"uri": "http://h:19530"}),
        ({"uri": "http://h", "token": None, "timeout": 3}, {"uri": "http://h", "timeout": 3}),
        ({"uri": pathlib.Path("/x/a.db")}, {"uri": "/x/a.db"}),
        ({"uri": "a.db"}, {"uri": str(pathlib.Path("a.db").absolute())}),
    ],
)
def test_r21_each_form_of_a_place_is_one_uri(
    given: dict[str, Any] | None, read: dict[str, Any]
) -> None:
    """What pymilvus would ignore is taken."""
    assert read_connection_args(given) == read


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"uri": None}, "not None"),
        ({"host": None, "port": None}, "not None"),
        ({"uri": ""}, "uri must be"),
        ({"uri": 5}, "uri must be"),
        ({"uri": "http://h:port"}, "uri must be"),
        ({"uri": "http://h:99999"}, "uri must be"),
        ({"uri": b"a.db"}, "uri must be"),
        ({"url": "http://h"}, "has no 'url'"),
        ({"url": "http://h", "uri": "http://h"}, "has no 'url'"),
        ({5: "x"}, "has no '5'"),
        ({"uri": "http://h", "host": "h"}, "both uri and host"),
        ({"uri": "http://h", "port": 1}, "both uri and port"),
        ({"address": "h:1", "host": "h"}, "both address and host"),
        ({"address": "h"}, "host must be"),
        ({"address": ":1"}, "host must be"),
        ({"address": None, "host": "http://h"}, "host must be"),
        ({"host": "h:1"}, "host must be"),
        ({"host": ""}, "host must be"),
        ({"host": 5}, "host must be"),
        ({"host": "h", "port": 0}, "port a number"),
        ({"host": "h", "port": 65536}, "port a number"),
        ({"host": "h", "port": True}, "port a number"),
        ({"host": "h", "port": "1.5"}, "port a number"),
        ({"host": "h", "port": "9" * 9_999}, "port a number"),
        ({"token": 5}, "token must be a string"),
        ({"user": b"x"}, "user must be a string"),
        ({"db_name": 1}, "db_name must be a string"),
    ],
)
def test_r21_what_can_t_be_meant_is_refused(given: dict[str, Any], told: str) -> None:
    """With a sentence that says what is right, and without the value."""
    with pytest.raises(InvalidInputError, match=told):
        read_connection_args(given)
