"""Blocking methods, made of the async ones that do the work."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from milvus_tools._io.loop import run_sync

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def blocking(
    method: Callable[Parameters, Coroutine[Any, Any, Result]],
) -> Callable[Parameters, Result]:
    """Make the blocking version of an async method, whose name is that without the `a`.

    It finds the async method by its name, so that a subclass that overrides
    `asimilarity_search` changes `similarity_search` too.
    """
    name = method.__name__

    @functools.wraps(method)
    def twin(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        instance, *rest = args
        call: Callable[..., Coroutine[Any, Any, Result]] = getattr(instance, name)
        return run_sync(call(*rest, **kwargs))

    twin.__name__ = name.removeprefix("a")
    twin.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{twin.__name__}"
    twin.__doc__ = _documented(name, inspect.cleandoc(method.__doc__ or ""))
    return twin


def _documented(name: str, documentation: str) -> str:
    first, _, rest = documentation.partition("\n")
    return f"{first}\n\nThe blocking version of `{name}`.\n{rest}".rstrip()
