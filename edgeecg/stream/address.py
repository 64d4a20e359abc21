"""Sources and sinks as text: ``lsl:NAME``, ``serial:/dev/ttyUSB0?fs=250``, and what text may say.

A registry is a tuple of `Form`; the module of a form is imported when the form is first used, and the
keyword arguments of its class are the options that the text may carry after a ``?``.
"""

from __future__ import annotations

import importlib
import inspect
import os
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from edgeecg.errors import ConfigError, MissingExtra
from edgeecg.io.reading import is_record

__all__ = ["Form", "build", "check_extra", "need", "place", "split"]


LIBRARIES = {
    "ble": ("bleak", "bleak"),
    "fhir": ("fhir.resources.R4B.observation", "fhir.resources"),
    "lsl": ("pylsl", "pylsl"),
    "mqtt": ("paho.mqtt.client", "paho-mqtt"),
    "prometheus": ("prometheus_client", "prometheus-client"),
    "records": ("wfdb", "wfdb"),
    "serial": ("serial", "pyserial"),
    "websocket": ("websockets", "websockets"),
}
"""Module and package of each extra that a form may need."""


@dataclass(frozen=True)
class Form:
    """One way to name a source or sink.

    Parameters
    ----------
    scheme : str
        What stands before the colon; empty for the form that has none (a path).
    shape : str
        The form as a user reads it, e.g. ``lsl:NAME``.
    factory : str
        ``module:class``; the class takes the text after the colon first, options by keyword.
    what : str
        One line for help texts.
    whole : bool
        Whether the class wants a URL: the scheme stays, and so do query keys that are no options of ours.
    extra : str
        The extra that brings the library behind it; empty where there is none.
    """

    scheme: str
    shape: str
    factory: str
    what: str
    whole: bool = False
    extra: str = ""


def check_extra(text: str, forms: Sequence[Form]) -> None:
    """Import the library behind the source or sink that ``text`` names, so that nobody finds out later.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    scheme = split(text, forms)[0]
    for form in forms:
        if form.scheme == scheme and form.extra:
            need(*LIBRARIES[form.extra], form.extra, f"using {form.shape}")


def need(module: str, package: str, extra: str, purpose: str) -> Any:
    """Import an optional library, or say which extra brings it.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(package, extra, purpose) from error
    except RuntimeError as error:  # pylsl, where liblsl is not there
        raise MissingExtra(f"what is behind {package}", extra, purpose) from error


def split(text: str, forms: Sequence[Form]) -> tuple[str, str, dict[str, str]]:
    """``scheme:rest?key=value`` to its parts; a path or a lone ``-`` has the scheme ``""``.

    Where one of ``forms`` is a path, the name of a recording that is there is one, whatever stands in it: a
    time of day has colons.
    """
    longest, _, query = text.rpartition("?")
    for path, said in ((text, ""), (longest, query)) if any(not form.scheme for form in forms) else ():
        with suppress(OSError):  # too long for a file's name, as a token may be
            if path and is_record(_at_home(path)):
                return "", path, dict(parse_qsl(said, keep_blank_values=True))
    body, _, query = text.partition("?")
    scheme, colon, rest = body.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not colon or len(scheme) < 2 or "/" in scheme or "\\" in scheme:
        return "", body, options  # one letter before a colon is a drive, not a scheme
    return scheme.lower(), rest, options


def _at_home(path: str) -> str:
    """A path whose ``~`` the shell left alone, as it does behind a colon and in a file."""
    return os.path.expanduser(path)


def build(kind: str, text: str, forms: Sequence[Form], options: Mapping[str, Any]) -> Any:
    """Make the source or sink that ``text`` names.

    Parameters
    ----------
    kind : str
        ``"source"`` or ``"sink"``, for messages.
    text : str
        The form with its options.
    forms : sequence of Form
        The registry.
    options : mapping
        Options by keyword; they win over those in the text. ``None`` means not given.

    Raises
    ------
    ConfigError
        If no form fits or an option is unknown or of a wrong type.
    """
    form, factory, target, said = _parts(kind, text, forms)
    first = next(iter(inspect.signature(factory).parameters))
    given = said | {key: value for key, value in options.items() if value is not None}
    return factory(**_typed(kind, form, factory, {first: target} | given))


def place(kind: str, text: str, forms: Sequence[Form]) -> tuple[str, str]:
    """The form's scheme (``-`` for a lone one) and what stands behind it, without options of ours.

    Raises
    ------
    ConfigError
        If no form fits.
    """
    form, _, target, _ = _parts(kind, text, forms)
    return form.scheme, target


def _parts(kind: str, text: str, forms: Sequence[Form]) -> tuple[Form, Any, str, dict[str, str]]:
    """The form that ``text`` has, its class, what the class takes first, and the options of ours."""
    scheme, rest, said = split(text, forms)
    form = next((f for f in forms if f.scheme == ("-" if rest == "-" and not scheme else scheme)), None)
    if form is None or not rest:
        shapes = ", ".join(f.shape for f in forms)
        raise ConfigError(f"{_public(text)!r} names no {kind}: write one of {shapes}")
    module, _, name = form.factory.partition(":")
    factory = getattr(importlib.import_module(module), name)
    if not form.whole:
        return form, factory, _at_home(rest), said
    known = list(inspect.signature(factory).parameters)[1:]
    foreign = {key: value for key, value in said.items() if key not in known}
    target = f"{scheme}:{rest}" + (f"?{urlencode(foreign)}" if foreign else "")
    return form, factory, target, {key: value for key, value in said.items() if key in known}


def _public(text: str) -> str:
    """An address without what may be a secret: of a URL, mistyped perhaps, its scheme alone."""
    scheme, colon, rest = text.partition(":")
    secret = colon and any(mark in rest for mark in ("//", "@", "?"))
    return f"{scheme}:..." if secret else text.partition("?")[0]


def _typed(kind: str, form: Form, factory: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Texts to the types that the class declares; anything that is not text passes as it is."""
    hints = typing.get_type_hints(factory.__init__)
    first, *known = inspect.signature(factory).parameters
    typed: dict[str, Any] = {}
    for key, value in given.items():
        if key != first and key not in known:
            raise ConfigError(
                f"{kind} {form.shape} has no option {key!r}; it has {', '.join(known) or 'none'}"
            )
        typed[key] = _convert(form.shape if key == first else key, value, hints[key])
    return typed


def _convert(name: str, value: Any, hint: Any) -> Any:
    if not isinstance(value, str):
        return value
    listed = any(typing.get_origin(part) is tuple for part in (hint, *typing.get_args(hint)))
    items = [item.strip() for item in value.split(",") if item.strip()]
    try:
        return msgspec.convert(items if listed else value, hint, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}={value!r} cannot be used: {error}") from error
