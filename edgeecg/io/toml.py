"""Settings in TOML: the tables of a file, before anybody looks at their keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgeecg.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found]

__all__ = ["read_toml"]


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file; ``what`` it is to hold is named where it is not there.

    Raises
    ------
    ConfigError
        The file is missing, cannot be read, or is no TOML.
    """
    try:
        told: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Notepad writes a mark
    except FileNotFoundError as error:
        raise ConfigError(f"no {what} at {path}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return told
