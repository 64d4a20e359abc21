"""The public sets that EdgeECG knows: where they are, what is in them, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeecg.data.held_back import cinc2017_split
from edgeecg.errors import ConfigError

__all__ = ["SETS", "DataSet", "data_set"]

_ODC_BY = "ODC-BY 1.0"
_PHYSIONET = (
    "Goldberger AL et al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23):e215-e220, 2000."
)


@dataclass(frozen=True)
class DataSet:
    """One public set of recordings.

    Parameters
    ----------
    name : str
        Name of its folder, and PhysioNet's short name.
    title : str
    slug, version : str
        Where PhysioNet has it: ``files/<slug>/<version>/``.
    size : str
        What a download takes, roughly.
    licence, attribution : str
    records : int
    fs : float
        Hertz.
    leads : str
        Leads in words.
    pattern : str
        Regular expression that a record's name matches (the sets have other files too).
    inside : str
        Folder on PhysioNet that holds the records of this set, where others hold more.
    beats : str, optional
        Annotator (file extension) of the beats; ``None`` where there are none.
    classed : bool
        Whether those beats were checked for their class by people.
    rhythm : str, optional
        Annotator of the rhythm changes.
    waves : str, optional
        Annotator of the P waves.
    without_signals : tuple of str
        Records that have annotations only.
    splits : dict of str to tuple of str
        Patient-wise splits by name; ``all`` always exists.
    """

    name: str
    title: str
    slug: str
    version: str
    size: str
    attribution: str
    records: int
    fs: float
    leads: str
    pattern: str
    inside: str = ""
    licence: str = _ODC_BY
    beats: str | None = "atr"
    classed: bool = True
    rhythm: str | None = None
    waves: str | None = None
    without_signals: tuple[str, ...] = ()
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Its page."""
        return f"https://physionet.org/content/{self.slug}/{self.version}/"


def data_set(name: str) -> DataSet:
    """A set by its name.

    Raises
    ------
    ConfigError
        If there is no such set.
    """
    if name not in SETS:
        raise ConfigError(
            f"unknown set {name!r}: choose among {', '.join(SETS)}; your own recordings lie in a folder of "
            "that name under --data"
        )
    return SETS[name]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MITDB_SPLITS = {
    "DS1": _names("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230"),
    "DS2": _names("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234"),
    "paced": _names("102 104 107 217"),
}
_SVDB = tuple(str(n) for n in (*range(800, 813), *range(820, 830), *range(840, 895)))

_TABLE = (
    DataSet(
        name="mitdb",
        title="MIT-BIH Arrhythmia Database",
        slug="mitdb",
        version="1.0.0",
        size="100 MB",
        attribution="Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. "
        "IEEE Eng in Med and Biol 20(3):45-50, 2001. " + _PHYSIONET,
        records=48,
        fs=360.0,
        leads="2: MLII and V1, V2, V4 or V5",
        pattern=r"[12]\d\d",
        rhythm="atr",
        splits=_MITDB_SPLITS,
    ),
    DataSet(
        name="svdb",
        title="MIT-BIH Supraventricular Arrhythmia Database",
        slug="svdb",
        version="1.0.0",
        size="75 MB",
        attribution="Greenwald SD, Patil RS, Mark RG. Improved detection and classification of arrhythmias "
        "in noise-corrupted electrocardiograms using contextual information. Computers in Cardiology 1990. "
        + _PHYSIONET,
        records=78,
        fs=128.0,
        leads="2, not named",
        pattern=r"8\d\d",
        splits={"development": _SVDB[:39], "test": _SVDB[39:]},
    ),
    DataSet(
        name="nstdb",
        title="MIT-BIH Noise Stress Test Database",
        slug="nstdb",
        version="1.0.0",
        size="30 MB",
        attribution="Moody GB, Muldrow WE, Mark RG. A noise stress test for arrhythmia detectors. "
        "Computers in Cardiology 11:381-384, 1984. " + _PHYSIONET,
        records=15,
        fs=360.0,
        leads="2",
        pattern=r"bw|em|ma|em118|11[89]e(_?\d\d)",
        splits={"noise": ("bw", "em", "ma")},
    ),
    DataSet(
        name="cinc2017",
        title="PhysioNet/CinC Challenge 2017, training set",
        slug="challenge-2017",
        version="1.0.0",
        size="1.5 GB",
        attribution="Clifford GD et al. AF classification from a short single lead ECG recording: the "
        "PhysioNet/Computing in Cardiology Challenge 2017. Computing in Cardiology 44, 2017. " + _PHYSIONET,
        records=8528,
        fs=300.0,
        leads="1, hand-held",
        pattern=r"A\d{5}",
        inside="training/",
        beats=None,
        splits=cinc2017_split(),
    ),
    DataSet(
        name="incartdb",
        title="St Petersburg INCART 12-lead Arrhythmia Database",
        slug="incartdb",
        version="1.0.0",
        size="800 MB",
        attribution="Tihonenko V, Khaustov A, Ivanov S, Rivin A, Yakushenko E. St Petersburg INCART 12-lead "
        "Arrhythmia Database. PhysioNet, 2008. " + _PHYSIONET,
        records=75,
        fs=257.0,
        leads="12 standard",
        pattern=r"I\d\d",
    ),
    DataSet(
        name="afdb",
        title="MIT-BIH Atrial Fibrillation Database",
        slug="afdb",
        version="1.0.0",
        size="600 MB",
        attribution="Moody GB, Mark RG. A new method for detecting atrial fibrillation using R-R intervals. "
        "Computers in Cardiology 10:227-230, 1983. " + _PHYSIONET,
        records=23,
        fs=250.0,
        leads="2",
        pattern=r"\d{5}",
        beats="qrs",
        classed=False,
        rhythm="atr",
        without_signals=("00735", "03665"),
    ),
    DataSet(
        name="ltafdb",
        title="Long Term AF Database",
        slug="ltafdb",
        version="1.0.0",
        size="3.5 GB",
        attribution="Petrutiu S, Sahakian AV, Swiryn S. Abrupt changes in fibrillatory wave characteristics "
        "at the termination of paroxysmal atrial fibrillation in humans. Europace 9:466-470, 2007. "
        + _PHYSIONET,
        records=84,
        fs=128.0,
        leads="2",
        pattern=r"\d{2,3}",
        rhythm="atr",
    ),
    DataSet(
        name="ludb",
        title="Lobachevsky University Electrocardiography Database",
        slug="ludb",
        version="1.0.1",
        size="30 MB",
        attribution="Kalyakulina AI et al. LUDB: a new open-access validation tool for electrocardiogram "
        "delineation algorithms. IEEE Access 8:186181-186190, 2020. " + _PHYSIONET,
        records=200,
        fs=500.0,
        leads="12 standard, 10 s",
        pattern=r"\d{1,3}",
        beats="ii",
        classed=False,
        waves="ii",
    ),
    DataSet(
        name="qtdb",
        title="QT Database",
        slug="qtdb",
        version="1.0.0",
        size="100 MB",
        attribution="Laguna P, Mark RG, Goldberger AL, Moody GB. A database for evaluation of algorithms "
        "for measurement of QT and other waveform intervals in the ECG. Computers in Cardiology 24, 1997. "
        + _PHYSIONET,
        records=105,
        fs=250.0,
        leads="2",
        pattern=r"sel(e0)?\d+[a-z]?",
        waves="q1c",
    ),
)

SETS: dict[str, DataSet] = {entry.name: entry for entry in _TABLE}
"""All sets by name."""
