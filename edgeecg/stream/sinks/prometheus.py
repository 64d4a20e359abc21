"""Metrics for Prometheus (prometheus-client): counts and states, never samples or names.

Patients are told apart by the number of their source in the gateway's file (``stream="1"`` is the first),
without one by the order in which they were opened; ``names=true`` uses the patients' names instead, where
those are no secrets. A source that comes back as another stream keeps its number, and its counts go on.
"""

from __future__ import annotations

from edgeecg.specs import Alarm, Beat, Event, Gap, Quality, Rhythm
from edgeecg.stream.address import need
from edgeecg.stream.listener import PATIENCE, Listener
from edgeecg.stream.sinks.base import BaseSink, Header, port_of

__all__ = ["PrometheusSink"]


class PrometheusSink(BaseSink):
    """Serves metrics on ``http://HOST:PORT/metrics``.

    Parameters
    ----------
    port : str
        ``PORT`` or ``HOST:PORT``; port 0 takes a free one.
    names : bool
        Whether the label ``stream`` carries the patients' names.

    Attributes
    ----------
    port : int
        The port in use, once open.

    Raises
    ------
    ConfigError
        If there is no port in the text.
    """

    def __init__(self, port: str, *, names: bool = False) -> None:
        super().__init__()
        self._address, (_, self.port) = port, port_of(port, "prometheus")
        self._names = names
        self._streams: dict[str, str] = {}
        self._listener: Listener | None = None

    def _connect(self, header: Header) -> None:
        lib = need("prometheus_client", "prometheus-client", "prometheus", "serving Prometheus metrics")
        registry = lib.CollectorRegistry()
        stream, both = ["stream"], ["stream", "label"]
        at = {"registry": registry, "namespace": "edgeecg"}
        self._model = lib.Gauge("model", "Model in use.", ["stream", "model", "digest"], **at)
        self._beats = lib.Counter("beats", "Beats by label.", both, **at)
        self._rate = lib.Gauge("heart_rate_bpm", "Heart rate from the last RR interval.", stream, **at)
        self._rhythm = lib.Gauge("rhythm", "1 while a rhythm lasts.", both, **at)
        self._quality = lib.Gauge("quality", "1 while the signal is not good.", both, **at)
        self._lead = lib.Gauge(
            "lead_without_signal", "1 while this one of several leads is off or flat.", [*both, "lead"], **at
        )
        self._alarm = lib.Gauge("alarm", "1 while an alarm lasts.", both, **at)
        self._alarms = lib.Counter("alarms", "Alarms by label.", both, **at)
        self._gaps = lib.Counter("gaps", "Gaps in the signal.", stream, **at)
        self._lost = lib.Counter("lost_samples", "Samples missing in gaps.", stream, **at)
        handler = lib.MetricsHandler.factory(registry)
        handler.timeout = PATIENCE  # the library's own server would keep a thread for each client for ever
        self._listener = Listener(self._address, "prometheus", handler)
        self.port = self._listener.port

    def _begin(self, header: Header) -> None:
        number = len(self._streams) + 1 if header.number is None else header.number
        stream = self._streams[header.patient] = header.patient if self._names else str(number)
        self._model.labels(stream, header.model, header.digest).set(1)

    def _send(self, event: Event, header: Header, time: float | None) -> None:
        stream = self._streams[header.patient]
        if isinstance(event, Beat):
            self._beats.labels(stream, event.label).inc()
            if event.rr:
                self._rate.labels(stream).set(60 / event.rr)
        elif isinstance(event, Gap):
            self._gaps.labels(stream).inc()
            self._lost.labels(stream).inc(event.length)
        else:
            self._episode(event, stream)

    def _episode(self, event: Rhythm | Quality | Alarm, stream: str) -> None:
        begins = event.end is None
        if isinstance(event, Quality) and event.lead is not None:
            self._lead.labels(stream, event.label, str(event.lead)).set(int(begins))
        elif isinstance(event, Alarm):
            self._alarm.labels(stream, event.label).set(int(begins))
            if begins:
                self._alarms.labels(stream, event.label).inc()
        else:
            gauge = self._rhythm if isinstance(event, Rhythm) else self._quality
            gauge.labels(stream, event.label).set(int(begins))

    def _disconnect(self) -> None:
        if self._listener is not None:
            self._listener.close()
