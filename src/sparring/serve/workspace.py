"""All that the application works with: a model, its queue, and the labels to search."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
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
MOST = 20_000  # candidates in the queue
FIRST = 500  # before rules are mined
LEAST = 0.01  # probability of a candidate
THREADS = 8  # for databases; each keeps memory of its own
SECONDS = 1800.0  # to fill the queue, after a start
FIRST_SECONDS = 60.0  # of them, at most, before rules are mined


@dataclass(eq=False)
class Workspace:
    """A model with the databases next to it.

    Attributes:
        served: the model.
        reviews: decisions of people.
        labels: names to search.
        task: what the background is doing, in words; empty when it is done.
        audit: rows of the audit by measure; None until it is there.
        progress: fraction of the queries that the queue comes from.
    """

    served: ServedModel
    reviews: Reviews
    labels: LabelIndex
    task: str = ""
    audit: dict[str, tuple[str, str]] | None = None
    progress: float = 0.0
    queue: ReviewQueue = field(init=False)
    comparison: SamplerComparison = field(init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self.queue = ReviewQueue(self.reviews, self.served.identity)
        self.comparison = SamplerComparison(self.served)
        # one thread, so that what PyTorch keeps for each thread is kept once
        self._one = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._several = CapacityLimiter(THREADS)
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
        """Run what needs a database in one of a few threads."""
        work = partial(function, *args, **kwargs)
        return await to_thread.run_sync(work, limiter=self._several)

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

    def fill_queue(
        self,
        *,
        until: int | None = None,
        most: int = MOST,
        least: float = LEAST,
        seconds: float = SECONDS,
    ) -> int:
        """Go through the queries of the graph, and keep the most probable missing facts.

        A later call goes on where this one stopped, in another process, too.

        Args:
            until: stop once there are so many candidates; None to ask all queries.
            most: candidates to keep.
            least: probability of a candidate.
            seconds: stop after this time.

        Returns:
            how many are in the queue.
        """
        served, queue = self.served, self.queue
        if served.calibration is None:
            return 0
        deadline = time.monotonic() + seconds
        for found in probably_missing(served.model, served.graph, start=queue.asked):
            if self._stopping.is_set() or time.monotonic() > deadline:
                break
            rated = served.probabilities(served.rate(found.triples))
            rows = zip(served.names(found.triples), rated)
            queue.add(Candidate(*names, p) for names, p in rows if p is not None and p >= least)
            queue.asked = found.done
            self.progress = found.done / found.total
            number = len(queue)
            if until is not None and number >= until:
                break
            if number > most + most // 4:
                queue.trim(most)
            while self._waiting and not self._stopping.wait(0.02):
                pass  # requests come first
        else:
            self.progress = 1.0
        queue.trim(most)
        return len(queue)

    def _prepare(self) -> None:
        try:
            self.task = "finding facts that are probably missing"
            if len(self.queue) < FIRST:
                self.fill_queue(until=FIRST, seconds=FIRST_SECONDS)
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
