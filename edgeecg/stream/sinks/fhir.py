"""HL7 FHIR R4 Observations (fhir.resources): a finding with the strip of ECG that shows it.

For the onset of a rhythm other than normal and of an alarm, one Observation as a JSON file: what was
found, by which model, for whom and when, and each lead as SampledData (microvolts). Its status is
``preliminary``: no person has looked at it. The resource is built with the library's R4B models; for
Observation and SampledData R4B does not differ from R4 in any element that is used here.
"""

from __future__ import annotations

import math
import time as clock
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

import edgeecg
from edgeecg.errors import ConfigError, InputError, LinkError
from edgeecg.io.atomic import atomic_path
from edgeecg.specs import Alarm, Event, Rhythm
from edgeecg.stream.address import need
from edgeecg.stream.sinks.base import BaseSink, Header, event_name
from edgeecg.stream.sinks.wfdb_files import check_file_name, file_name
from edgeecg.stream.wallclock import iso_time

__all__ = ["FhirSink"]

MDC = "urn:iso:std:iso:11073:10101"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
SNOMED = "http://snomed.info/sct"
POTENTIAL = 131328  # MDC_ECG_ELEC_POTL; a lead's code is this plus the lead's number
LEADS = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8}
LEADS |= {"III": 61, "aVR": 62, "aVL": 63, "aVF": 64}
FINDINGS = {
    "AFIB": ("164889003", "Electrocardiographic atrial fibrillation"),
    "bradycardia": ("426627000", "Electrocardiogram: bradycardia"),
}
MEMORY = 300.0  # seconds of signal that are kept for strips
MOST_WAITING = 1000  # findings of a patient that wait for their strip, or for room on the disk
PAUSE = 10.0  # seconds before a disk that took nothing is tried again: every push would cost milliseconds
MOST_ALIKE = 100  # findings of one place and name that earlier runs may have left

_Waiting = tuple[Union[Rhythm, Alarm], float | None]


@dataclass(eq=False)
class _Strip:
    """The last minutes of a patient's signal, and the findings that wait for theirs."""

    pieces: deque[tuple[int, NDArray[np.float64]]]
    waiting: list[_Waiting]
    end: int = 0

    def cut(self, start: int, stop: int) -> tuple[int, NDArray[np.float64] | None]:
        """Signal within ``start .. stop``, NaN where it is missing, and where it begins."""
        parts = [(at, x) for at, x in self.pieces if at < stop and at + len(x) > start]
        if not parts:
            return start, None
        start = max(start, parts[0][0])
        stop = min(stop, parts[-1][0] + len(parts[-1][1]))
        out = np.full((stop - start, parts[0][1].shape[1]), np.nan)
        for at, x in parts:
            low, high = max(at, start), min(at + len(x), stop)
            out[low - start : high - start] = x[low - at : high - at]
        return start, out


class FhirSink(BaseSink):
    """Observations as ``FOLDER/PATIENT-SAMPLE-LABEL.json``.

    Parameters
    ----------
    folder : str
        Made if need be.
    before, after : float
        Seconds of the strip around the onset.

    Raises
    ------
    ConfigError
        If the strip is longer than the signal that is kept.
    """

    def __init__(self, folder: str, *, before: float = 5.0, after: float = 5.0) -> None:
        super().__init__()
        if min(before, after) < 0 or not 0 < before + after <= MEMORY / 2:
            raise ConfigError(f"fhir: before and after must be 0 or more, together at most {MEMORY / 2:g} s")
        self._folder, self._before, self._after = Path(folder), before, after
        self._strips: dict[str, _Strip] = {}
        self._trouble: LinkError | None = None
        self._again = 0.0  # when a disk that took nothing is tried again

    def _connect(self, header: Header) -> None:
        self._observation = need(
            "fhir.resources.R4B.observation", "fhir.resources", "fhir", "writing FHIR resources"
        ).Observation
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise LinkError(
                f"{self._folder} is a file, not a folder: name another place",
                public="its folder is a file: name another place",
            ) from error
        except OSError as error:
            raise LinkError(f"{self._folder} cannot be made: {error.strerror}") from error

    def _begin(self, header: Header) -> None:
        check_file_name(header.patient, self._strips)
        self._strips[header.patient] = _Strip(deque(), [])

    def signal(self, start: int, samples: NDArray[np.float64], patient: str) -> None:
        """Keep ``(n, leads)`` millivolts for strips, and write the findings whose strip is now whole."""
        header, strip = self._headers[patient], self._strips[patient]
        strip.pieces.append((start, np.array(samples)))
        strip.end = start + len(samples)
        while strip.pieces[0][0] + len(strip.pieces[0][1]) < strip.end - MEMORY * header.fs:
            strip.pieces.popleft()
        try:
            self._write_some({patient: self._due(patient)})
        except LinkError:
            if self.waits or not self.behind:
                raise

    @property
    def trouble(self) -> LinkError | None:
        """Why findings wait."""
        return self._trouble if self.behind else None

    def _due(self, patient: str) -> list[_Waiting]:
        """Findings of a patient whose strip is whole."""
        strip, after = self._strips[patient], self._after * self._headers[patient].fs
        return [item for item in strip.waiting if item[0].start + after <= strip.end]

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        if not isinstance(event, (Alarm, Rhythm)) or event.end is not None or event.label == "N":
            return
        strip = self._strips[header.patient]
        strip.waiting.append((event, time))
        if len(strip.waiting) > MOST_WAITING:
            del strip.waiting[0]
            raise LinkError(
                f"over {MOST_WAITING} findings wait for room in {self._folder}: one is lost",
                public=f"over {MOST_WAITING} findings wait for room: one is lost",
            )

    def retry(self) -> None:
        """Write the findings whose strip is whole, if the disk takes them now."""
        self._write_some({patient: self._due(patient) for patient in self._strips})

    def flush(self) -> None:
        """Write the findings that still wait, with as much of their strip as has come."""
        self._again = 0.0
        self._write_some({patient: list(strip.waiting) for patient, strip in self._strips.items()})

    def _write_some(self, some: Mapping[str, Sequence[_Waiting]]) -> None:
        """Write findings; where the disk takes none, all go on waiting and are tried again after a pause."""
        if clock.monotonic() < self._again:
            return
        refused: list[str] = []
        for patient, waiting in some.items():
            for event, time in waiting:
                try:
                    self._write(event, time, self._headers[patient])
                except (OSError, InputError) as error:
                    self.behind, self._again = True, clock.monotonic() + PAUSE
                    left = sum(len(strip.waiting) for strip in self._strips.values())
                    why = error.strerror if isinstance(error, OSError) else "is it a folder?"
                    told = f"{left} findings wait, as {self._folder} takes no files: {why}"
                    self._trouble = LinkError(told)
                    raise self._trouble from error
                except ValueError as error:  # the library's: it would be refused again
                    refused.append(str(error).splitlines()[0])
                self._strips[patient].waiting.remove((event, time))
                self.behind = False
        if refused:
            told = f"{len(refused)} findings are left out"  # the library's words may quote them
            raise LinkError(f"{told}: {refused[0]}", public=told)

    def _write(self, event: Rhythm | Alarm, time: float | None, header: Header) -> None:
        resource = self._observation(**self._fields(event, time, header))
        text = resource.model_dump_json(exclude_none=True).encode()
        stem = f"{file_name(header.patient)}-{event.start}-{file_name(event.label)}"
        names = (f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, MOST_ALIKE)))
        for place in (self._folder / name for name in names):  # an earlier run's may have this name
            if not place.exists():
                with atomic_path(place) as path:
                    path.write_bytes(text)
                return
            if place.is_file() and place.read_bytes() == text:
                return
        raise ValueError(f"{MOST_ALIKE} findings of other runs have its name")

    def _fields(self, event: Rhythm | Alarm, time: float | None, header: Header) -> dict[str, Any]:
        """The Observation as plain values; the library checks them."""
        fs = header.fs
        wanted = event.start - round(self._before * fs), event.start + round(self._after * fs)
        start, samples = self._strips[header.patient].cut(max(0, wanted[0]), wanted[1])
        model = f"EdgeECG {edgeecg.__version__}, model {header.model} ({header.digest})"
        note = f"{event_name(event)} at sample {event.start} of {fs:g} Hz; found by a program, not reviewed"
        fields: dict[str, Any] = {
            "status": "preliminary",
            "category": [{"coding": [_coding(CATEGORY, "procedure", "Procedure")]}],
            "code": {"coding": [_coding(MDC, str(POTENTIAL), "MDC_ECG_ELEC_POTL")]},
            "subject": {"identifier": {"value": header.patient}},
            "device": {"display": model},
            "valueCodeableConcept": _finding(event.label),
            "note": [{"text": note}],
        }
        if samples is not None:
            columns = zip(header.leads, samples.T, strict=True)
            fields["component"] = [_component(lead, column, fs) for lead, column in columns]
        if time is not None:
            fields["effectivePeriod"] = {
                "start": iso_time(time + (start - event.start) / fs),
                "end": iso_time(time + (start - event.start + (0 if samples is None else len(samples))) / fs),
            }
        return fields


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def _finding(label: str) -> dict[str, Any]:
    coded = [_coding(SNOMED, *FINDINGS[label])] if label in FINDINGS else []
    return {"text": label} | ({"coding": coded} if coded else {})


def _component(lead: str, millivolts: NDArray[np.float64], fs: float) -> dict[str, Any]:
    """A lead as SampledData: whole microvolts, ``E`` where there is no number."""
    number = LEADS.get(lead, 0)
    coding = _coding(MDC, str(POTENTIAL + number), f"MDC_ECG_ELEC_POTL{f'_{lead}' if number else ''}")
    microvolts = [1000.0 * value for value in millivolts.tolist()]
    values = [str(round(value)) if math.isfinite(value) else "E" for value in microvolts]
    return {
        "code": {"coding": [coding], "text": lead},
        "valueSampledData": {
            "origin": {"value": 0, "unit": "mV", "system": "http://unitsofmeasure.org", "code": "mV"},
            "period": 1000 / fs,
            "factor": 0.001,
            "dimensions": 1,
            "data": " ".join(values),
        },
    }
