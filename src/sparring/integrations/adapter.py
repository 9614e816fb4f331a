"""One sampler behind the two seams of a host library: drawing, and hearing how draws fared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from sparring.batch import Feedback, Negatives, Queries, Scorer, ungroup
from sparring.corruption import CorruptEither, Corruption, to_triples
from sparring.data.graph import TrainGraph
from sparring.losses import Loss
from sparring.models import KGEModel
from sparring.samplers.base import NegativeSampler

AT_ONCE = 2**17  # triples that the host's model scores in one call
Judge = Callable[[Tensor, Tensor], Tensor]


class Adapter:
    """Draws corrupted triples for a host, and lets the sampler learn from their scores.

    A host draws for a batch, tells the scores with `hear` (in parts, if it splits the batch), and
    runs its own backward pass; the sampler learns when the next batch is drawn, or on `digest`.

    Args:
        make: builds the sampler for the training graph, whose ids are the host's.
        corruption: which end of each triple to replace.
        loss: stands in for the host's own loss, which knows no densities; None keeps that.
        seed: of the sampler's first parameters, and of all draws.

    Attributes:
        judge: the host model's scores of triples [M, 3], without gradients, and where it is their
            heads that were asked for [M], which is the same to most models; None where the host
            has none to offer.
    """

    def __init__(
        self,
        make: Callable[[TrainGraph], NegativeSampler],
        *,
        corruption: Callable[[TrainGraph], Corruption] = CorruptEither,
        loss: Loss | None = None,
        seed: int = 0,
    ):
        self.make, self.make_corruption, self.loss, self.seed = make, corruption, loss, seed
        self.judge: Judge | None = None
        self.told: dict[str, Tensor] = {}
        self.forget()

    def __repr__(self) -> str:  # hosts write it into their records
        sampler = self.sampler
        name = "no sampler yet" if sampler is None else f"{type(sampler).__name__}, k={sampler.k}"
        return f"Bridge({name}, seed={self.seed})"

    def forget(self) -> None:
        """Start anew with the next graph."""
        self.sampler: NegativeSampler | None = None
        self.entered: str | None = None
        self.waiting: dict[str, Any] | None = None
        self.last: tuple[Queries, Negatives] | None = None
        self.heard: list[tuple[Tensor, Tensor]] = []

    def enter(self, graph: TrainGraph) -> NegativeSampler:
        """The sampler for this graph; the same one as before, if the graph is.

        Raises:
            ValueError: if `loss` needs a density that the sampler does not state.
        """
        if self.sampler is not None and self.entered == graph.content_hash:
            return self.sampler
        device = graph.triples.device
        with torch.random.fork_rng(devices=[]):  # the host's own random numbers stay the same
            torch.manual_seed(self.seed)
            sampler, corruption = (
                self.make(graph).to(device),
                self.make_corruption(graph).to(device),
            )
        if self.loss is not None:
            self.loss.check(sampler)
        self.sampler, self.corruption, self.entered = sampler, corruption, graph.content_hash
        self.rng = torch.Generator(device).manual_seed(self.seed)
        self.last, self.heard = None, []
        if self.waiting is not None:
            state, self.waiting = self.waiting, None
            self.load_state_dict(state)
        return sampler

    def draw(self, triples: Int[Tensor, "B 3"]) -> tuple[Int[Tensor, "B K 3"], Bool[Tensor, "B K"]]:
        """Triples with one end replaced, and True where they count.

        Raises:
            ValueError: if `corruption` asks more than one question about a triple.
            RuntimeError: as `draw_all` does.
        """
        corrupted, mask = self.draw_all(triples)
        if len(corrupted) != len(triples):
            raise ValueError(
                f"{type(self.corruption).__name__} replaces both ends of a triple, and this "
                "library takes negatives of one; use other sides, such as CorruptEither or Bernoulli"
            )
        return corrupted, mask

    def draw_all(
        self, triples: Int[Tensor, "B 3"]
    ) -> tuple[Int[Tensor, "Q K 3"], Bool[Tensor, "Q K"]]:
        """The same for Q questions: as many as triples, or twice as many, by `corruption`.

        Raises:
            RuntimeError: before `enter`, in a worker process, or if the sampler needs scores that
                the host does not offer.
        """
        if self.sampler is None:
            raise RuntimeError("a bridge must enter a graph before it can draw")
        if get_worker_info() is not None:
            raise RuntimeError(
                "negatives are drawn in a worker process, whose copy of the sampler never learns "
                "and repeats the draws of the other workers; set num_workers=0"
            )
        self.digest()
        queries = self.corruption(triples.to(self.rng.device), self.rng)
        drawn = self.sampler.sample(queries, self.scorer(queries), self.rng)
        self.last = queries, replace(drawn, ids=ungroup(drawn.ids, len(queries)))
        corrupted = to_triples(queries, drawn.ids, self.corruption.num_relations)
        return corrupted.to(triples.device), drawn.mask.to(triples.device)

    def hear(self, positive: Float[Tensor, "b"], negative: Float[Tensor, "b K"]) -> None:
        """Take in the scores of the next b triples of the batch, and soon their gradients."""
        if negative.requires_grad:
            negative.retain_grad()
        self.heard.append((positive, negative))

    def own_loss(
        self, positive: Float[Tensor, "b"], negative: Float[Tensor, "b K"], first: int = 0
    ) -> Float[Tensor, ""]:
        """`loss` of the triples of the last draw from number `first` on."""
        assert self.loss is not None and self.last is not None
        queries, drawn = self.last
        rows = slice(first, first + len(positive))
        some: dict[str, Any] = {
            field.name: _part(getattr(drawn, field.name), rows, positive.device)
            for field in fields(drawn)
        }
        weight = queries.weight[rows].to(positive.device)
        return self.loss(positive, negative, Negatives(**some), weight)

    def digest(self) -> dict[str, Tensor]:
        """Let the sampler learn from what was heard; scalars worth logging, also in `told`.

        Raises:
            RuntimeError: if other triples were heard than drawn.
        """
        heard, self.heard = self.heard, []
        if not heard or self.last is None or self.sampler is None:
            return {}
        queries, drawn = self.last
        positive, negative, gradient = (
            torch.cat(parts).to(self.rng.device)
            for parts in zip(*((p.detach(), n.detach(), _gradient(n)) for p, n in heard))
        )
        if len(positive) != len(queries):
            raise RuntimeError(
                f"the scores of {len(positive)} triples came back for {len(queries)} drawn ones; "
                "a batch must be scored before the next one is drawn"
            )
        self.last = None
        self.told = self.sampler.observe(Feedback(queries, drawn, positive, negative, gradient))
        return self.told

    def heads(self, queries: Queries) -> Bool[Tensor, "B"]:
        """Where queries ask for the head."""
        return queries.relation >= self.corruption.num_relations

    def scorer(self, queries: Queries) -> Scorer:
        """The host model's scores of candidates for these queries."""
        return HostScorer(self, queries)

    def state_dict(self) -> dict[str, Any]:
        """Sampler and random stream; what was heard is digested first."""
        if self.sampler is None:
            return self.waiting or {}
        self.digest()
        return {"sampler": self.sampler.state_dict(), "rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, at once or as soon as a graph is entered."""
        if self.sampler is None:
            self.waiting = state
        elif state:
            self.sampler.load_state_dict(state["sampler"])
            self.rng.set_state(state["rng"])


@dataclass(frozen=True, eq=False)
class HostScorer:
    """The host model's scores, without gradients; each candidate is a triple of its own.

    Raises:
        RuntimeError: when called, if the bridge does not know the model.
    """

    bridge: Adapter
    queries: Queries

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        judge = self.bridge.judge
        if judge is None:
            raise RuntimeError(
                "this sampler asks for the main model's scores, which it cannot have here; "
                "use the training loop of sparring.integrations for this library, or a sampler "
                "that ignores scores"
            )
        triples = to_triples(self.queries, ids, self.bridge.corruption.num_relations)
        head = self.bridge.heads(self.queries).unsqueeze(1).expand(triples.shape[:2])
        both = zip(triples.flatten(0, 1).split(AT_ONCE), head.flatten().split(AT_ONCE))
        parts = [judge(some, asked) for some, asked in both]
        return torch.cat(parts).view(triples.shape[:2]).to(ids.device)

    def __getitem__(self, rows: slice) -> "HostScorer":
        """The scorer of the chosen queries."""
        return HostScorer(self.bridge, self.queries[rows])


class HostModel(KGEModel):
    """The model of a host library as one of ours, for `evaluate` and other questions.

    Args:
        bridge: that has entered a graph, and knows the model by its `judge`.
    """

    def __init__(self, bridge: Adapter):
        super().__init__()
        self.bridge = bridge

    def forward(self, queries: Queries) -> Scorer:
        """Scores of candidates, in the model's evaluation mode and without gradients."""
        return self.bridge.scorer(queries)


def _part(value: Tensor | None, rows: slice, device: torch.device) -> Tensor | None:
    return None if value is None else value[rows].to(device)


def _gradient(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores) if scores.grad is None else scores.grad


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; after it, each module's mode is as before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
