"""The wfdb package, loaded when it is needed."""

from __future__ import annotations

from types import ModuleType

from edgeecg.errors import MissingExtra

__all__ = ["load_wfdb"]


def load_wfdb(purpose: str) -> ModuleType:
    """Import wfdb; ``purpose`` says what for, in the error where it is missing.

    Raises
    ------
    MissingExtra
        If wfdb is not installed.
    """
    try:
        import wfdb
    except ImportError as error:
        raise MissingExtra("wfdb", "records", purpose) from error
    module: ModuleType = wfdb
    return module
