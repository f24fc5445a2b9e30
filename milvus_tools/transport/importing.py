"""Imports that a fork waits for, because a child can't end what another thread has begun."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def before_forks() -> Iterator[None]:
    """Import inside; a fork of this process by another thread waits for the end."""
    with _lock:
        yield


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
