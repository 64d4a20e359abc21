"""The two forms of the network give the same numbers, the future stays unseen, sizes keep their limits."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeecg.errors import ConfigError
from edgeecg.model.presets import LIMITS, PRESETS, preset
from edgeecg.model.transformer import Network, Stack, rotary_tables, rotate
from edgeecg.specs import StackSpec

TOKENS = 150


@pytest.fixture(scope="module", params=sorted(PRESETS))
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    return Network(preset(request.param)).eval()


@torch.no_grad()
def stepped(network: Network, signal: torch.Tensor, cuts: list[int]) -> torch.Tensor:
    """Heads of the step form, cut as told; the first ``lag`` columns are dropped."""
    state = torch.zeros(len(signal), network.token.state_size)
    parts, at = [], 0
    for tokens in cuts:
        heads, _, state = network.token.step(signal[:, 8 * at : 8 * (at + tokens)], state)
        parts.append(heads)
        at += tokens
    return torch.cat(parts, dim=1)[:, network.spec.token.lag :]


def test_presets_keep_their_limits(network: Network) -> None:
    name = next(name for name, spec in PRESETS.items() if spec == network.spec)
    assert network.parameter_count <= LIMITS[name]


def test_latency_is_at_most_a_second_without_the_hop(network: Network) -> None:
    from edgeecg.signal.frontend import FrontEnd
    from edgeecg.specs import MODEL_FS, SignalSpec

    samples = FrontEnd(SignalSpec(), 360.0).latency + 8 * network.spec.latency_tokens
    assert samples / MODEL_FS <= 1.0


@settings(max_examples=8)
@given(data=st.data())
def test_token_steps_equal_the_whole(network: Network, data: st.DataObject) -> None:
    cuts: list[int] = []
    while sum(cuts) < TOKENS:
        cuts.append(data.draw(st.integers(1, min(64, TOKENS - sum(cuts)))))
    torch.manual_seed(1)
    signal = torch.randn(2, 8 * TOKENS)
    with torch.no_grad():
        whole, _ = network.token(signal)
    settled = TOKENS - 2 * network.spec.token.lag  # later tokens of the whole lack their look-ahead
    got = stepped(network, signal, cuts)[:, :settled]
    torch.testing.assert_close(got, whole[:, :settled], atol=1e-5, rtol=0)


def test_the_future_never_changes_the_past(network: Network) -> None:
    """Token t sees ``lag`` tokens ahead, all of them and no more."""
    torch.manual_seed(3)
    exact = copy.deepcopy(network).double()
    signal = torch.randn(1, 8 * TOKENS, dtype=torch.float64)
    other = signal.clone()
    other[:, 8 * 100 :] = torch.randn(1, 8 * (TOKENS - 100), dtype=torch.float64)
    with torch.no_grad():
        a, b = exact.token(signal)[0], exact.token(other)[0]
    change = (a - b).abs().amax(dim=(0, 2))
    first = 100 - network.spec.token.lag
    assert change[:first].max() < 1e-13
    assert change[first] > 1e-11


def test_old_signal_is_forgotten_beyond_the_context(network: Network) -> None:
    """The receptive field is what ``ModelSpec.window`` says."""
    torch.manual_seed(4)
    tokens = network.spec.window(hop_tokens=1) + 8
    signal = torch.randn(1, 8 * tokens)
    other = signal.clone()
    other[:, :32] += 1.0
    lag = network.spec.token.lag
    with torch.no_grad():
        a, b = network.token(signal)[0], network.token(other)[0]
    torch.testing.assert_close(a[:, -1 - lag], b[:, -1 - lag], atol=1e-6, rtol=0)


def test_rows_do_not_see_each_other(network: Network) -> None:
    torch.manual_seed(5)
    signal = torch.randn(3, 8 * 40)
    with torch.no_grad():
        together = network.token(signal)[0]
        alone = network.token(signal[1:2])[0]
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


@given(shift=st.integers(0, 400))
def test_rotary_scores_depend_on_differences_only(shift: int) -> None:
    torch.manual_seed(6)
    q, k = torch.randn(1, 1, 16), torch.randn(1, 1, 16)
    cosine, sine = (table.double() for table in rotary_tables(512, 16))

    def score(i: int, j: int) -> float:
        left = rotate(q.double(), cosine[i : i + 1], sine[i : i + 1])
        right = rotate(k.double(), cosine[j : j + 1], sine[j : j + 1])
        return float((left * right).sum())

    assert score(30 + shift, 7 + shift) == pytest.approx(score(30, 7), abs=1e-3)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_absolute_positions_refuse_to_stream(positions: str) -> None:
    spec = StackSpec(dim=16, layers=1, heads=1, ffn=16, left=8, right=0)
    stack = Stack(spec, positions)  # type: ignore[arg-type]
    assert stack(torch.randn(1, 20, 16)).shape == (1, 20, 16)
    with pytest.raises(ConfigError, match="rotary"):
        stack.step(torch.randn(1, 4, 16), torch.zeros(1, stack.state_size))


@pytest.mark.parametrize("tokens", [1, 12, 63, 64, 65, 70, 71, 128, 130])
@pytest.mark.parametrize(("left", "right"), [(3, 1), (8, 0), (24, 2), (53, 3), (54, 2)])
def test_attention_is_the_textbook_softmax_over_the_band(left: int, right: int, tokens: int) -> None:
    """Scaled dot-product attention written out over all keys, against the block's bands and fused kernel.

    Some spans fill the kernel's tile to the last key, some do not; blocks of 64 queries are full or not.
    """
    torch.manual_seed(7)
    spec = StackSpec(dim=16, layers=1, heads=2, ffn=16, left=left, right=right)
    block = next(Stack(spec).layers())
    x = torch.randn(1, tokens, 16)
    ones, zeros = torch.ones(tokens, 1, 8), torch.zeros(tokens, 1, 8)
    ahead = torch.arange(tokens) - torch.arange(tokens)[:, None]
    unseen = (ahead < -left) | (ahead > right)
    with torch.no_grad():
        got = block(x, ones, zeros)[0]
        h = block.norm1(x)[0]
        q, k, v = (part.view(tokens, 2, 8) for part in (block.query(h), *block.key_value(h).chunk(2, dim=-1)))
        scores = torch.einsum("qhc,khc->hqk", q, k) / 8**0.5
        weights = torch.softmax(scores.masked_fill(unseen, -torch.inf), dim=-1)
        mixed = torch.einsum("hqk,khc->qhc", weights, v).flatten(1)
        expected = block.feed_forward(x[0] + block.out(mixed))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
