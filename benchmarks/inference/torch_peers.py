"""PyTorch as a peer: eager, compiled, and on a GPU as a CUDA graph. State stays where the network is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from inference.subject import Answer, Call, Case, Subject

__all__ = ["compiled", "cuda_graph", "eager"]

WHOLE = np.zeros(0, np.float32)


class Host:
    """Arrays to the device and back, through page-locked memory where there is a GPU."""

    def __init__(self, subject: Subject, case: Case, device: str) -> None:
        pinned = device == "cuda"
        self.device = device
        self.network = subject.network.to(device)
        self.signal = torch.from_numpy(case.signal)
        self.staging = torch.empty_like(self.signal, pin_memory=pinned)
        self.kind = case.kind
        with torch.inference_mode():  # as every later state: compiled code is guarded by the kind of tensor
            self.state = torch.zeros(case.rows, subject.network.token.state_size, device=device)

    def bring(self) -> Tensor:
        """The signal on the device."""
        if self.device == "cpu":
            return self.signal
        self.staging.copy_(self.signal)
        return self.staging.to("cuda", non_blocking=True)

    def answer(self, heads: Tensor, embedding: Tensor) -> Answer:
        """What the host gets; a window was computed by the whole form."""
        found = {"heads": heads.cpu().numpy(), "embedding": embedding.cpu().numpy()}
        return {**found, "whole": WHOLE} if self.kind == "window" else found

    def body(self) -> Callable[..., tuple[Tensor, ...]]:
        """What is computed: a step with its state, or a window by the whole form."""
        token = self.network.token
        return token.step if self.kind == "step" else token


def run(host: Host, body: Callable[..., tuple[Tensor, ...]], reused: bool = False) -> Call:
    """A call of ``body``; a step's state is carried on the device (copied where outputs are ``reused``)."""

    def call() -> Answer:
        with torch.inference_mode():
            signal = host.bring()
            if host.kind == "window":
                heads, embedding = body(signal)
            else:
                heads, embedding, state = body(signal, host.state)
                host.state = state.clone() if reused else state
            return host.answer(heads, embedding)

    return call


def eager(subject: Subject, case: Case, device: str = "cpu") -> Call:
    """Operator by operator."""
    host = Host(subject, case, device)
    return run(host, host.body())


def compiled(subject: Subject, case: Case, device: str = "cpu", mode: str = "default") -> Call:
    """``torch.compile``; ``reduce-overhead`` makes CUDA graphs on a GPU."""
    host = Host(subject, case, device)
    body = torch.compile(host.body(), fullgraph=True, dynamic=False, mode=mode)
    return run(host, body, reused=mode == "reduce-overhead")


def cuda_graph(subject: Subject, case: Case) -> Call:
    """The eager kernels, captured by hand: copies in and out are outside the graph, the state inside."""
    host = Host(subject, case, "cuda")
    body, signal = host.body(), torch.empty_like(host.signal, device="cuda")

    def work() -> tuple[Tensor, Tensor]:
        if host.kind == "window":
            heads, embedding = body(signal)
        else:
            heads, embedding, state = body(signal, host.state)
            host.state.copy_(state)
        return heads, embedding

    with torch.inference_mode():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            heads, embedding = work()
        host.state.zero_()

    def call() -> Answer:
        with torch.inference_mode():
            signal.copy_(host.bring(), non_blocking=True)
            graph.replay()
            return host.answer(heads, embedding)

    return call
