"""Records of cinc2017 that are kept for others to judge: a quarter of its training set, drawn once.

mitdb and svdb are split by a list and by order; these 2,162 of 8,528 records (A00001 to A08528, a patient
each as far as anybody knows) were drawn by chance, so that they are written down here, a bit a record.
"""

from __future__ import annotations

import base64

__all__ = ["cinc2017_split"]

_RECORDS = 8528
_HELD_BACK = (
    "IoBQHgegaYsBQQPAw0UglAAHAUCIYlFIoaBAHYBQIAQjIAawEETAAAJRoYEgkugIwGElAihB1BgQkBQhRyZAISPHiCgADALI"
    "gAAGNRQUaBAYgCKyJFoRNAiIIBIECyAYAADCRCwCFAMAbVAmKIIxAiggADAFfABGBQCBIDBIwgJiG0ZIUAAShJAEAAGiDKCA"
    "EAoMCxyBGgApABCENQhzgCioCCAtYTRAE0IICMAQiAsgQKCIEUMoTBKi1CQCoRGUQwrI5MA4XTMAgQENBAIAQrwEAUkEQFDj"
    "CQJAFAzBCE5hlSMLiIoiABAEQEBAiApwcoQAUoC7FkUEA2OhAQQwBCaWUOwagQlIChAAEEbBEBjC2QAAjShSAjMAkQ4USCmA"
    "MDBAAEUAihCAHIUBJBBLQIAEcAYAEyMgGAEBKEwIoHBgF0QlQgkABFkSERQQ1IAABBgEAQAQUGBgsYYgAUIAIhBEIAhAQmGz"
    "IQBigCgCQBAiIEosAgAAQMSEKKhSiEkggJkaBpEYgG/oEACEMDRWQKCBDIZABkAKEgAEMEQoAYPRbEABIkJMgJABAq4JbBhA"
    "YAEGjBVikA8gyoIvhpCMAAACDgKEEQBcnjBkOiBWABCIaDQAAgRIhXY4cMyIgZJAgOQKAgoEWBkDVAMKiAEBAAABmgAGCAIA"
    "kAEyA0o0GJAAUUScDLEqFIxAQQFAFkECQAAAYYMJAYwKJwgAgAA9QECBkQQAhAgOiEKBgAWSwCAAUQQEQgoAwAGIxKjiLQAQ"
    "nNDBACDSC0FACECEQlAJQqAEAEEkBggNCQ8MgMFJdAxEAAjEiBKUIAHAmQ2cMaisJKSAMIIQADEQQAiE4AAGXAAAAKYIC5AA"
    "AhoIQPCAIJEAAQoSgEGQACwQBsBBAQRAEAQjRFAEAIABIwxQAkQChgkN7ADIhLALSNYggAYBQQEmhEAIEXDMCCIyIggZAkA0"
    "QQAmSGDEhAoCgBiCAFdJ4UAeQIDSRCoDAAABECSHjEgYIIkQQIBAQkICCIYkUQIFKiBICg4SACnCwgBAAC5FSjHQgyTDRABC"
    "CFMQJIJkGEIAAAMQgQSIIeUgOSABGJoHxHCKqQQAu2JBDhBRBYAYDAEmmDJgMkIgIoAgMAOGGjBoGqGaAABAmIJAFIRMCBAI"
    "dhhAKAAfcSkiEAgwBAAITIlJoYrAQSQgMAgAwARBMLQBGIgk0IBZgTpFIEDTnQqdgBoCQEwMiBKBUCAsCAhBWIDAgCAAAEQi"
    "gUEAhShEIdkMACguAAOgCAAAIWAACAYHGG6MAEIho4wIY4NEJogBgAABIBoMHEREApRRAaZxol0gDBKQGwbImWgEALdLYkJw"
    "8MSCAVBQAATk0yACcIjAKgQICBCFBkhEgQCAAwcLAHSJQKAiAUBPIyQBiiZKIABCCLQCyOAgAEYiYA=="
)
"""Base64; bit n % 8 of byte n // 8, lowest first, is set where record number n + 1 is held back."""


def cinc2017_split() -> dict[str, tuple[str, ...]]:
    """Names of the records that models may be made with (``development``) and of the others (``test``)."""
    bits = base64.b64decode(_HELD_BACK)
    names: dict[bool, list[str]] = {False: [], True: []}
    for number in range(_RECORDS):
        names[bool(bits[number // 8] >> number % 8 & 1)].append(f"A{number + 1:05}")
    return {"development": tuple(names[False]), "test": tuple(names[True])}
