"""Speed and accuracy of per-sample gradients, beside every peer that gives the same ones.

    python tests/benchmarks/gradients.py [--quick] [--json FILE] [--threads 1] [--only head,layers,…]

In a full run six to nine minutes on one core, by what else the machine does; two to three with --quick. Peers are
optional: what is not installed or does not run has a row with its error. They are in no lock file; this was written for

    pip install opacus==1.6.0 kronfluence==1.0.1 traker==0.3.2 dattri==0.3.0 bergson==2.5.1 transformers

(Bergson asks for torchaudio, whose newest release does not load beside torch 2.13 and then keeps transformers from
being imported: uninstall it again. So does a torchvision of another torch build.) All candidates of a row run in one
process and take turns, and ratios are of the fastest calls, in CPU seconds where one thread of a CPU does the work; the
column `calls, spread` says of how many calls, and how much longer the slowest took. Before they are timed, their
outputs are compared.

    head / forward        everything the gradient kind `head` does, over the bare forward pass
    layers / fwd+bwd      all layers, kronecker to 512 values and exact norms, over loss.backward() of the same batch
    peer / ours           a peer's time over ours for the same output. Where a peer gives whole gradients, they are
                          projected with our matrices the cheapest way. Ours always includes exact norms.
    error against float64 of norms and projected gradients in each precision
    taken / faster route  of exact norms: ghost norms or built gradients
    shard / raw write     bytes/s
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import checks
import networks
import peers
import texts
import torch
from networks import Subject
from timing import Candidate, Row, Timed, agreement, interleave, machine, show
from torch import nn
from torch.nn.functional import cross_entropy

from tasks.gradients.kinds.head import Head
from tasks.kernels.head import head_gradient
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.projections import Projection

D = checks.D


class Bench:
    """The sections of the table."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.subjects = networks.subjects(self.device, quick=quick)
        # One for each network: a projection knows parameters by name, and these networks have the same ones.
        self.projections = {name: Projection("kronecker", D, 0, self.device) for name in self.subjects}
        self.budget = 0.5 if quick else 4.0

    # ---- ours over what it cannot do without -------------------------------------------------------------------------

    def head(self) -> Iterator[Row]:
        """The head kind over a forward pass."""
        for s in self.subjects.values():
            take = Head().taker(s.network, s.x[:2], Loss(), len(s.x))
            pair = {"forward": partial(_forward, s.network, s.x), "ours": partial(take, s.x, s.labels)}
            yield self._over(pair, "head / forward", s, 1.1)

    def layers(self) -> Iterator[Row]:
        """The layers kind over forward and backward."""
        for s in self.subjects.values():
            pair = {"fwd+bwd": _training_step(s), "ours": partial(_taker(s), self.projections[s.name])}
            row = self._over(pair, "layers / fwd+bwd", s, 1.3)
            yield row
            if self.device.type == "cuda" and row.per_second:
                yield checks.shares(s, self.projections[s.name], len(s.x) / row.per_second, checks.peaks(self.device))
                yield checks.waits(s, self.projections[s.name])

    def _over(self, pair: dict[str, Candidate], what: str, s: Subject, goal: float) -> Row:
        timed = interleave(pair, self.device, self.budget / 2)
        base, ours = timed.values()
        if ours.error or base.error:
            return Row(what, s.name, "ours", note=ours.error or base.error)
        ratio, rate = ours.seconds / base.seconds, len(s.x) / ours.seconds
        note = f"batch of {len(s.x)}; without: {len(s.x) / base.seconds:,.0f} samples/s"
        return Row(what, s.name, "ours", ratio, f"≤ {goal}", ratio <= goal, rate, ours.spread(), note)

    # ---- peers over ours ---------------------------------------------------------------------------------------------

    def head_peers(self) -> Iterator[Row]:
        """(a) The head's gradients, forward pass included and given the features."""
        for s in self.subjects.values():
            with torch.no_grad():
                features = s.body(s.x)
            head = s._replace(network=s.head)
            ready = _prepared(
                {
                    "ours": lambda s=s: lambda f: _outer(*_head_factors(s, f)),
                    "ours, as factors": lambda s=s: partial(_head_factors, s),
                    "vmap": lambda at=head: lambda f: peers.by_vmap(at._replace(x=f), _joined)(),
                    "loop": lambda at=head: lambda f: peers.by_loop(at._replace(x=f), _joined)(),
                    "opacus": partial(peers.by_opacus, head, _joined),
                }
            )
            steps = {name: partial(step, features) if callable(step) else step for name, step in ready.items()}
            yield from self._against("(a) head, features given", s, steps, features_only=True)
            full = {name: partial(_after_body, s, step) if callable(step) else step for name, step in ready.items()}
            yield from self._against("(a) head, with forward", s, full)

    def projected_peers(self) -> Iterator[Row]:
        """(b) d = 512 of all layers."""
        for s in self.subjects.values():
            reduce, take = peers.projected(self.projections[s.name]), _taker(s)
            ways: dict[str, Callable[[], Candidate]] = {
                "ours": lambda s=s, take=take: lambda: take(self.projections[s.name]).gradient,
                "vmap": partial(peers.by_vmap, s, reduce),
                "opacus": partial(peers.by_opacus, s, reduce),
                "loop": partial(peers.by_loop, s, reduce),
            }
            yield from self._against("(b) projected, d=512", s, _prepared(ways))
            if s.name == "MLP":
                yield from self._dense(s)
            else:
                p = sum(parameter.numel() for parameter in s.network.parameters())
                note = (
                    f"not run: matrix of {p / 1e6:.1f} M × {D} ({p * D * 4 / 2**30:.0f} GiB), or redrawn for each batch"
                )
                yield Row("(b) own dense projection", s.name, "TRAK, dattri", note=note)

    def _dense(self, s: Subject) -> Iterator[Row]:
        """Peers with projections of their own: what they project is checked, and what with."""
        take = _taker(s)
        gradients = take(None).gradient
        random = Projection("random", D, 0, self.device)
        ways: dict[str, object] = {
            "ours": lambda: take(self.projections[s.name]).gradient,
            "ours, dense random": lambda: take(random).gradient,
        }
        wanted = {}
        for name, way in (("TRAK", peers.by_trak), ("dattri", peers.by_dattri)):
            try:
                ways[name], matrix = way(s, D)
            except Exception as error:  # noqa: BLE001
                ways[name] = error
                continue
            if matrix.numel():
                wanted[name] = gradients @ matrix
            del matrix
        yield from self._against("(b) own dense projection", s, ways, wanted=wanted)

    def norm_peers(self) -> Iterator[Row]:
        """(c) Exact squared norms of all layers."""
        for s in self.subjects.values():
            take = _taker(s)
            ways = {
                "ours": lambda s=s, take=take: lambda: take(self.projections[s.name]).squares.sum(1),
                "vmap": partial(peers.by_vmap, s, peers.squares),
                "opacus": partial(peers.by_opacus, s, peers.squares),
                "opacus ghost": partial(peers.by_ghost, s),
                "loop": partial(peers.by_loop, s, peers.squares),
            }
            yield from self._against("(c) exact norms, all layers", s, _prepared(ways))
            names = [name for name, m in s.network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
            some = _taker(s, names)
            pair = {
                "ours": lambda s=s, some=some: lambda: some(self.projections[s.name]).squares.sum(1),
                "Kronfluence": partial(peers.by_kronfluence, s),
            }
            yield from self._against("(c) exact norms, Linear + Conv", s, _prepared(pair))

    def whole_peers(self) -> Iterator[Row]:
        """(d) Whole gradients."""
        s = self.subjects["MLP"]
        take = _taker(s)
        ways = {
            "ours": lambda: lambda: take(None).gradient,
            "vmap": partial(peers.by_vmap, s, peers.whole),
            "opacus": partial(peers.by_opacus, s, peers.whole),
            "loop": partial(peers.by_loop, s, peers.whole),
        }
        yield from self._against("(d) whole gradients", s, _prepared(ways))

    def text_peers(self) -> Iterator[Row]:
        """(e) Linear layers of a Llama, 16 × 16 values."""
        try:
            text = texts.Text(4 if self.quick else 8, 128, 256, self.device)
        except Exception as error:  # noqa: BLE001
            yield Row("(e) Linear of a Llama, d=256", "Llama", "transformers", note=_said(error))
            return
        ways = {
            "ours": partial(texts.ours, text),
            "Bergson": partial(texts.by_bergson, text),
            "dattri LoGra": partial(texts.by_dattri, text),
        }
        s = self.subjects["transformer"]._replace(name="Llama", x=text.ids)
        yield from self._against("(e) Linear of a Llama, d=256", s, _prepared(ways))

    def _against(
        self,
        what: str,
        s: Subject,
        steps: dict[str, object],
        *,
        wanted: dict[str, torch.Tensor] | None = None,
        features_only: bool = False,
    ) -> Iterator[Row]:
        """One row for each candidate, ``ours`` first; a candidate that could not be prepared is its error."""
        usable: dict[str, Candidate] = {name: step for name, step in steps.items() if callable(step)}
        timed = interleave(usable, self.device, self.budget / 4 if features_only else self.budget)
        timed |= {name: Timed(error=_said(step)) for name, step in steps.items() if not callable(step)}
        ours = timed["ours"]
        rivals = [t.seconds for name, t in timed.items() if not name.startswith("ours") and not t.error]
        fastest = min(rivals, default=float("inf"))
        for name, t in timed.items():
            if t.error:
                yield Row(what, s.name, name, note=f"does not run: {t.error}")
                continue
            ratio = t.seconds / ours.seconds
            if name.startswith("ours"):
                note = f"batch of {len(s.x)}" if name == "ours" else ""
            elif wanted is None:
                note = agreement(t.output, ours.output)
            elif name in wanted:
                note = agreement(t.output, wanted[name]) + " (its own matrix × our whole gradients)"
            else:
                note = "its own matrix, which exists nowhere to compare with"
            goal = t.seconds == fastest
            yield Row(
                what,
                s.name,
                name + (", the fastest" if goal else ""),
                ratio,
                "≥ 1.5" if goal else "",
                ratio >= 1.5 if goal else None,
                len(s.x) / t.seconds,
                t.spread(),
                note,
            )

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def accuracy(self) -> Iterator[Row]:
        """Against float64."""
        for s in self.subjects.values():
            yield from checks.accuracy(s, 4)

    def routes(self) -> Iterator[Row]:
        """Of exact norms."""
        return checks.routes(self.device, 3 if self.quick else 7)

    def shards(self) -> Iterator[Row]:
        """Writing."""
        return checks.shards(checks.write_ipc, 64 if self.quick else 256, 3 if self.quick else 5)


def _forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(x)


def _training_step(s: Subject) -> Candidate:
    def run() -> None:
        s.network.zero_grad(set_to_none=True)
        cross_entropy(s.network(s.x), s.labels).backward()

    return run


def _taker(s: Subject, names: list[str] | None = None) -> Callable:
    taker = LayerGradientTaker(s.network, names or s.layers, s.x[:2])
    return lambda projection: taker.take(s.x, s.labels, Loss(), projection)


def _prepared(ways: Mapping[str, Callable[[], object]]) -> dict[str, object]:
    """Each candidate, or the error that it was prepared with."""
    ready: dict[str, object] = {}
    for name, way in ways.items():
        try:
            ready[name] = way()
        except Exception as error:  # noqa: BLE001
            ready[name] = error
    return ready


def _said(error: object) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _head_factors(s: Subject, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return head_gradient(s.head(features), features, s.labels, Loss(), bias=True)


def _outer(residual: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    return residual.unsqueeze(2) * features.unsqueeze(1)


def _joined(gradients: peers.Gradients) -> torch.Tensor:
    """[W b] of a head, n × k × h+1."""
    return torch.cat([gradients["weight"], gradients["bias"].unsqueeze(2)], dim=2)


def _after_body(s: Subject, step: Callable[[torch.Tensor], object]) -> object:
    return step(_forward(s.body, s.x))


def main() -> None:
    """Run, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches, few repetitions")
    parser.add_argument("--json", type=Path, help="file that the rows are also written to")
    parser.add_argument("--threads", type=int, default=1)
    sections = ("head", "layers", "head_peers", "projected_peers", "norm_peers", "whole_peers", "text_peers")
    sections += ("accuracy", "routes", "shards")
    parser.add_argument("--only", default=",".join(sections), help="sections, comma-separated")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    bench = Bench(quick=options.quick)
    about = machine(bench.device, options.threads)
    rows = []
    for section in options.only.split(","):
        start = time.perf_counter()
        rows += getattr(bench, section)()
        print(f"{section}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    show(rows, about, options.json)


if __name__ == "__main__":
    main()
