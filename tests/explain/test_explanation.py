"""The whole way: words, pictures, a page that needs nothing else, the verb and its errors."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import edgeecg
from edgeecg.bundle import Bundle, LeadPolicy
from edgeecg.cli.explain import _concept_sets
from edgeecg.cli.main import main
from edgeecg.cli.strip import draw_strip
from edgeecg.errors import BundleError, ConfigError, MissingExtra
from edgeecg.explain.concepts import CONCEPTS, ConceptSets
from edgeecg.explain.explanation import Explanation
from edgeecg.explain.question import Question
from edgeecg.explain.trace import Trace, trace
from edgeecg.io.wfdb import write_wfdb
from edgeecg.model.transformer import Network


@pytest.fixture(scope="module")
def why(bundle: Bundle, why_v: Question) -> Explanation:
    at = int(why_v.trace.samples[why_v.targets[0]])
    return edgeecg.explain.explain(why_v.trace.record, at + 5, bundle=bundle)


def test_words_say_the_label_and_the_parts(why: Explanation) -> None:
    text = " ".join(why.sentences())
    assert text.startswith(f"V with a probability of {why.probability:.1%}")
    assert "the patient's usual beats, on time" in text
    assert "QRS +" in text


@pytest.mark.parametrize("method", list(edgeecg.explain.METHODS))
def test_the_first_beat_of_a_recording_is_explained(
    bundle: Bundle, why_v: Question, tmp_path: Path, method: str
) -> None:
    """It has no interval before it, and no usual one."""
    record = why_v.trace.record
    with edgeecg.open_engine(bundle, "onnxruntime") as engine:
        first = next(e for e in edgeecg.annotate(engine, record) if isinstance(e, edgeecg.Beat))
    why = edgeecg.explain.explain(record, first.sample, bundle=bundle, method=method, change=False)
    assert why.sample == first.sample
    if method == "path":
        assert edgeecg.explain.write(why, tmp_path)


def test_another_label_can_be_asked_for(bundle: Bundle, why: Explanation) -> None:
    other = edgeecg.explain.explain(
        why.question.trace.record, why.sample, bundle=bundle, label="N", change=False
    )
    assert other.question.answer < 0
    assert other.relevance["QRS"] < 0


def test_files_are_whole_and_need_nothing_else(why: Explanation, tmp_path: Path) -> None:
    files = edgeecg.explain.write(why, tmp_path)
    assert {f.name for f in files} >= {
        "index.html",
        "explanation.json",
        "strip.png",
        "parts.png",
        "attention.png",
    }
    for file in tmp_path.glob("*.png"):
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert file.stat().st_size > 5000
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert page.count("data:image/png;base64,") == len(list(tmp_path.glob("*.png")))
    data = msgspec.json.decode((tmp_path / "explanation.json").read_bytes())
    assert data["label"] == "V"
    assert data["sample"] == why.sample
    assert len(data["samples"]["at"]) == len(data["samples"]["relevance"][0])
    assert len(data["intervals"]["ends_at"]) == len(data["intervals"]["seconds"])
    assert data["samples"]["at"] == sorted(data["samples"]["at"])


@pytest.fixture(scope="module")
def recording(why_v: Question, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wfdb(why_v.trace.record, tmp_path_factory.mktemp("records"))


def test_the_verb(
    recording: Path, why: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "explain",
        str(recording),
        "--at",
        str(why.sample),
        "--no-concepts",
        "--out",
        str(tmp_path / "why"),
    ]
    assert main(line) == 0
    assert (tmp_path / "why" / "index.html").is_file()
    assert "3 forward and 3 backward passes" in capsys.readouterr().out
    assert main(line) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        (["--at", "999999"], "it has samples 0 to"),
        (["--at", "100", "--method", "guess"], "no method 'guess': choose one of path"),
        (["--at", "100", "--bundle", "nothing"], "nothing"),
        (["--at", "100", "--label", "X"], "'X' is not one of"),
        (["--at", "100", "--lead", "aVF"], "aVF"),
    ],
)
def test_errors_are_one_line(
    recording: Path, extra: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["explain", str(recording), *extra, "--no-concepts", "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_the_beat_is_looked_for_before_examples_are_made(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They take half a minute, which a wrong sample or label should not cost."""
    monkeypatch.setattr("edgeecg.cli.explain.default_folder", lambda: tmp_path / "cache")

    def slow(*what: object, **more: object) -> ConceptSets:
        raise AssertionError("examples were made for no beat")

    monkeypatch.setattr("edgeecg.explain.concept_hearts.synthetic_sets", slow)
    monkeypatch.setattr("edgeecg.explain.synthetic_sets", slow, raising=False)
    assert main(["explain", str(recording), "--at", "999999", "--out", str(tmp_path / "out")]) == 2
    assert "it has samples 0 to" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["damaged", "unwritable"])
def test_a_cache_that_is_of_no_use_ends_nothing(
    bundle: Bundle,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("edgeecg.cli.explain.default_folder", lambda: cache)
    rows = np.zeros((2, 3), np.float32)
    sets = ConceptSets(dict.fromkeys(CONCEPTS, rows), dict.fromkeys(CONCEPTS, rows))
    monkeypatch.setattr("edgeecg.explain.synthetic_sets", lambda *what, **more: sets, raising=False)
    if fault == "damaged":
        (cache / "concepts").mkdir(parents=True)
        (kept := cache / "concepts" / f"{bundle.digest[:16]}-0-2.npz").touch()
        assert _concept_sets(bundle, 0) is sets
        assert "made again" in capsys.readouterr().err
        assert ConceptSets.load(kept).concepts.keys() == sets.concepts.keys()
    else:
        cache.touch()
        assert _concept_sets(bundle, 0) is sets
        assert "EDGEECG_CACHE, or XDG_CACHE_HOME" in capsys.readouterr().err


def test_a_recording_without_beats_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bundle: Bundle
) -> None:
    table = tmp_path / "flat.csv"
    table.write_text("time,I\n" + "".join(f"{n / 250},0.0\n" for n in range(3000)))
    assert main(["explain", str(table), "--at", "50", "--units", "mV", "--out", str(tmp_path / "out"),
                 "--no-concepts"]) == 2  # fmt: skip
    assert "found no beat in flat around sample 50" in capsys.readouterr().err


def test_the_page_says_what_the_parts_miss(why: Explanation, tmp_path: Path) -> None:
    """Three gradients do not add up exactly: the reader is told by how much."""
    assert why.difference == pytest.approx(why.question.answer - baseline_odds(why), abs=1e-4)
    edgeecg.explain.write(why, tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"add up to {sum(why.relevance.values()):+.1f}; the log-odds are {why.difference:+.1f}" in page


def baseline_odds(why: Explanation) -> float:
    other = why.attribution.baseline
    with torch.no_grad():
        return float(why.question(other.samples[None], other.intervals[None])[0])


def test_a_bundle_without_weights_says_so(bundle: Bundle, why: Explanation) -> None:
    bare = Bundle(
        bundle.manifest, bundle.digest, {k: v for k, v in bundle.parts.items() if "weights" not in k}
    )
    with pytest.raises(BundleError, match="cannot be fine-tuned or explained"):
        edgeecg.explain.explain(why.question.trace.record, why.sample, bundle=bare)


def test_the_door_is_light_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, edgeecg; edgeecg.explain.__all__; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.delitem(sys.modules, "edgeecg.explain.tcav", raising=False)
    with pytest.raises(MissingExtra, match=r"edgeecg\[explain\]"):
        edgeecg.explain.score_concepts  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        edgeecg.explain.nothing  # noqa: B018


def test_every_public_name_is_there() -> None:
    for name in edgeecg.explain.__all__:
        assert getattr(edgeecg.explain, name) is not None


@pytest.mark.data
def test_real_beats(data_root: Path, bundle: Bundle) -> None:
    """A real V and a real S: pointed at, and for the right reason."""
    record = edgeecg.read_record(data_root / "mitdb" / "119")
    wide = edgeecg.explain.explain(record, 173035, bundle=bundle, change=False)
    assert wide.question.label == "V"
    assert max(wide.relevance, key=wide.relevance.__getitem__) == "QRS"
    record = edgeecg.read_record(data_root / "mitdb" / "209")
    early = edgeecg.explain.explain(record, 112539, bundle=bundle, change=False)
    assert early.question.label == "S"
    assert max(early.relevance, key=early.relevance.__getitem__) in ("RR before", "earlier beats")
    with pytest.raises(ConfigError, match="no label 'x'"):
        edgeecg.explain.explain(record, 112539, bundle=bundle, label="x")


def test_the_probability_is_the_one_that_the_stream_tells(bundle: Bundle, why: Explanation) -> None:
    assert bundle.thresholds.confidence  # there is something to correct
    with edgeecg.open_engine(bundle, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, why.question.trace.record, withhold=False)
    told = next(e for e in events if isinstance(e, edgeecg.Beat) and e.sample == why.sample)
    assert why.probability == pytest.approx(told.probability, abs=5e-3)
    raw = float(1 / (1 + torch.exp(torch.tensor(-why.question.answer))))
    other = edgeecg.explain.explain(
        why.question.trace.record, why.sample, bundle=bundle, label="N", change=False
    )
    assert other.probability == pytest.approx(1 - raw, abs=0.02)  # nobody told it: as the network says it


def test_a_rule_that_told_another_label_is_named(
    bundle: Bundle, network: Network, atrial: Trace, tmp_path: Path
) -> None:
    """With the limit of the smoothed P(AFIB) near zero no beat is S, whatever the network says."""
    thresholds = replace(bundle.thresholds, afib=1e-4)
    strict = replace(bundle, manifest=replace(bundle.manifest, thresholds=thresholds))
    beat = max(b for b in range(30, len(atrial) - 3) if atrial.labels[b] == "S")
    why = edgeecg.explain.explain(atrial.record, int(atrial.samples[beat]), bundle=strict, change=False)
    assert why.question.label == "N"
    assert why.sentences()[1] == (
        "The network by itself says S; N is told by a rule: no beat is S in atrial fibrillation."
    )
    values = why.to_dict()
    assert (values["told"], values["network"], values["rule"]) == ("N", "S", "fibrillation")
    edgeecg.explain.write(why, tmp_path)
    assert "told by a rule" in (tmp_path / "index.html").read_text()
    with edgeecg.open_engine(strict, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, atrial.record, withhold=False)
    told = next(e for e in events if isinstance(e, edgeecg.Beat) and e.sample == why.sample)
    assert told.label == "N"
    assert why.probability == pytest.approx(told.probability, abs=5e-3)


def test_a_change_is_not_looked_for_where_a_rule_told_the_label(bundle: Bundle, atrial: Trace) -> None:
    """Else the page would say N would be N if it came later."""
    thresholds = replace(bundle.thresholds, afib=1e-4)
    strict = replace(bundle, manifest=replace(bundle.manifest, thresholds=thresholds))
    beat = max(b for b in range(30, len(atrial) - 3) if atrial.labels[b] == "S")
    why = edgeecg.explain.explain(atrial.record, int(atrial.samples[beat]), bundle=strict)
    assert why.counterfactual is None
    assert why.sentences()[-1] == "No change was looked for: N is told by a rule, not by the network."


def test_why_not_another_label_looks_for_that_one(
    bundle: Bundle, why: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, at = why.question.trace.record, why.sample
    turned = edgeecg.explain.explain(record, at, bundle=bundle, label="S")
    if turned.counterfactual is None:
        assert turned.notes == ("No small change of timing, QRS width and P wave turns it to S.",)
    else:
        assert turned.counterfactual.after == "S"
    monkeypatch.setattr("edgeecg.explain.counterfactual.FARTHEST", 0.05)
    none = edgeecg.explain.explain(record, at, bundle=bundle, label="N")
    assert none.counterfactual is None
    assert none.sentences()[-1] == "No small change of timing, QRS width and P wave turns it to N."


@pytest.mark.parametrize("policy", ["first", "best"])
def test_the_change_is_checked_on_the_leads_that_were_asked_for(
    bundle: Bundle, why: Explanation, policy: LeadPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def traced(*given: object, **options: object) -> Trace:
        asked.append(options["lead_policy"])
        return trace(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("edgeecg.explain.counterfactual.trace", traced)
    record, at = why.question.trace.record, why.sample
    edgeecg.explain.explain(record, at, bundle=bundle, lead_policy=policy)
    assert set(asked) == {policy}


def test_what_is_missing_is_said(bundle: Bundle, why: Explanation, tmp_path: Path) -> None:
    record, sets = why.question.trace.record, ConceptSets({}, {})
    early = int(why.question.trace.samples[10])
    told = edgeecg.explain.explain(record, early, bundle=bundle, concepts=sets, change=False)
    assert told.notes == ("Concepts were not looked for: they need 64 beats before this one.",)
    edgeecg.explain.write(told, tmp_path)
    assert told.notes[0] in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("method", ["random", "difference", "attention", "rollout"])
def test_methods_without_a_sign_speak_for_nothing(bundle: Bundle, why: Explanation, method: str) -> None:
    record = why.question.trace.record
    other = edgeecg.explain.explain(record, why.sample, bundle=bundle, method=method, change=False)
    text = " ".join(other.sentences())
    assert "speaks" not in text
    assert ("Where it looked" in text) == (method in ("attention", "rollout"))
    assert "log-odds of" not in other.balance()
    assert other.unit != "log-odds"


def test_names_with_dollars_are_no_formulas(bundle: Bundle, why: Explanation, tmp_path: Path) -> None:
    record = replace(why.question.trace.record, name="cost$5^$", leads=("$V_1", "a$\\foo$"))
    odd = edgeecg.explain.explain(record, why.sample, bundle=bundle, change=False)
    assert edgeecg.explain.write(odd, tmp_path)
    with edgeecg.open_engine(bundle, "onnxruntime", "fp32") as engine:
        events = edgeecg.annotate(engine, record)
    draw_strip(record, events, tmp_path / "strip.png", title="cost$5^$")


def test_the_beat_that_was_asked_about_is_named(bundle: Bundle, ventricular: Trace) -> None:
    """Near the start fewer beats lie before it than behind it."""
    at = int(ventricular.samples[2])
    why = edgeecg.explain.explain(ventricular.record, at, bundle=bundle, label="AFIB", change=False)
    assert why.sample == at
    assert why.beat == 2


def test_attention_is_told_as_a_share(bundle: Bundle, why: Explanation, tmp_path: Path) -> None:
    record = why.question.trace.record
    shared = edgeecg.explain.explain(record, why.sample, bundle=bundle, method="rollout", change=False)
    edgeecg.explain.write(shared, tmp_path)
    assert "<th>share of attention</th>" in (tmp_path / "index.html").read_text()
    edgeecg.explain.write(why, tmp_path)
    assert "<th>log-odds</th>" in (tmp_path / "index.html").read_text()
