"""What keeps a worker small, whatever it fetches: it runs for months beside others that want memory too.

Called before anything of the worker is imported.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

__all__ = ["stay_small"]

_M_ARENA_MAX = -8  # glibc's number, of malloc.h
_ARENAS = 2


def stay_small() -> None:
    """Set up the allocators of this process, and leave pandas out until somebody wants it."""
    # Polars' allocator keeps what it frees for ten seconds; a worker that reads one file after the other grows by that.
    # It looks here when polars is imported.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    # glibc gives threads heaps of their own, which each grow to the largest chunk; librdkafka has a hundred threads.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    if "pandas" not in sys.modules:
        _PandasOnDemand().hide_from_pyarrow()


class _PandasOnDemand:
    """Keeps pyarrow from importing pandas, which it does at the first array or scalar that is made, for 40 MB.

    pyarrow looks once whether there is a pandas. Here it finds none; when anybody else imports pandas (a calendar, a
    source of the user's), it is told, as it reads pandas' own types better then.
    """

    def __init__(self) -> None:
        self._hidden = True

    def hide_from_pyarrow(self) -> None:
        """Let pyarrow look."""
        sys.meta_path.insert(0, self)
        import pyarrow as pa

        pa.scalar(0)
        self._hidden = False

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Find no pandas, or the real one, once; see `importlib.abc.MetaPathFinder`."""
        if name != "pandas":
            return None
        if self._hidden:
            raise ModuleNotFoundError(name, name=name)
        sys.meta_path.remove(self)
        found = find_spec(name)
        if found is not None and found.loader is not None:
            load = found.loader.exec_module

            def load_and_tell(module: ModuleType) -> None:
                load(module)
                import pyarrow as pa

                pa.Table.from_pandas(module.DataFrame())  # looks again

            found.loader.exec_module = load_and_tell  # type: ignore[method-assign]
        return found
