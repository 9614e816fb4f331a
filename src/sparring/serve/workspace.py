"""All that the application works with: a model, its queue, and the labels to search."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import to_thread
from torch import Tensor

from sparring.data.vocabulary import Vocabulary
from sparring.serve.comparison import SamplerComparison
from sparring.serve.labels import Kind, LabelIndex
from sparring.serve.missing import probably_missing
from sparring.serve.queue import Candidate, ReviewQueue
from sparring.serve.reviews import Reviews
from sparring.serve.served import ServedModel

P = ParamSpec("P")
T = TypeVar("T")
ENOUGH = 20_000  # candidates in the queue
FIRST = 500  # before rules are mined
LEAST = 0.01  # probability of a candidate


@dataclass(eq=False)
class Workspace:
    """A model with the databases next to it.

    Attributes:
        served: the model.
        reviews: decisions of people.
        labels: names to search.
        task: what the background is doing, in words; empty when it is done.
        audit: rows of the audit by measure; None until it is there.
    """

    served: ServedModel
    reviews: Reviews
    labels: LabelIndex
    task: str = ""
    audit: dict[str, tuple[str, str]] | None = None
    queue: ReviewQueue = field(init=False)
    comparison: SamplerComparison = field(init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self.queue = ReviewQueue(self.reviews, self.served.identity)
        self.comparison = SamplerComparison(self.served)
        # one thread, so that what PyTorch keeps for each thread is kept once
        self._one = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting = 0
        self._background: threading.Thread | None = None

    async def ask(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what needs the model in its own thread, one call at a time."""
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._one, partial(function, *args, **kwargs))
        finally:
            self._waiting -= 1

    async def store(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what needs a database in a thread."""
        return await to_thread.run_sync(partial(function, *args, **kwargs))

    def start(self) -> None:
        """Mine rules and fill the queue in the background."""
        self._background = threading.Thread(target=self._prepare, daemon=True, name="prepare")
        self._background.start()

    def wait(self) -> None:
        """Wait until the background is done."""
        if self._background is not None:
            self._background.join()

    def close(self) -> None:
        """Stop the background, and close the databases."""
        self._stopping.set()
        self.wait()
        self._one.shutdown()
        self.reviews.close()
        self.labels.close()

    def fill_queue(self, *, enough: int = ENOUGH, least: float = LEAST) -> int:
        """Add candidates of the model until there are enough.

        Args:
            least: probability of a candidate.

        Returns:
            how many are in the queue.
        """
        served = self.served
        if served.calibration is None:
            return 0
        for triples in probably_missing(served.model, served.graph):
            if self._stopping.is_set() or len(self.queue) >= enough:
                break
            rated = served.probabilities(served.rate(triples))
            rows = zip(served.names(triples), rated)
            self.queue.add(
                Candidate(*names, p) for names, p in rows if p is not None and p >= least
            )
            while self._waiting and not self._stopping.wait(0.02):
                pass  # requests come first
        return len(self.queue)

    def _prepare(self) -> None:
        try:
            self.task = "finding facts that are probably missing"
            self.fill_queue(enough=FIRST)
            if not self._stopping.is_set():
                self.task = "mining rules for explanations"
                self.served.mine_rules()
            self.task = "finding more facts that are probably missing"
            self.fill_queue()
        finally:
            self.task = ""


def label_rows(served: ServedModel) -> list[tuple[Kind, str, str]]:
    """Rows of a `LabelIndex`: what is used most comes first."""
    graph = served.graph
    rows = []
    tables: list[tuple[Kind, Vocabulary, Tensor]] = [
        ("relation", graph.relations, served.relation_counts()),
        ("entity", graph.entities, served.degree),
    ]
    for kind, names, count in tables:
        order = count.argsort(descending=True, stable=True).numpy()
        own = names.names.gather(order), names.labels.gather(order)
        rows += [(kind, name, label) for name, label in zip(*own)]
    rows += [("type", name, name) for name in graph.types]
    return rows
