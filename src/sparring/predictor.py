"""A trained model with its graph: what `fit` and `load` give."""

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import polars as pl
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn

from sparring.data.frames import triple_ids, with_facts
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.evaluation.audit import Audit
from sparring.evaluation.ensemble import ProposalDistribution, as_proposal
from sparring.evaluation.explain import Explanation, explain
from sparring.evaluation.negatives import DrawnNegatives, draw_negatives
from sparring.evaluation.predict import predict
from sparring.evaluation.prediction import Prediction
from sparring.evaluation.probability import ProbabilityCalibration, fit_calibration
from sparring.evaluation.queries import PredictionQuery
from sparring.evaluation.ranking import evaluate
from sparring.evaluation.triples import rate_triples, score_triples
from sparring.experiments.audit_run import audit_sampler, step_device
from sparring.experiments.fit import Plan, train_plan
from sparring.experiments.run import ensemble, metrics
from sparring.experiments.run_folder import Run, RunError
from sparring.models.base import KGEModel
from sparring.printing import html_table
from sparring.samplers.base import NegativeSampler
from sparring.seeds import Seeds


class Predictor:
    """A trained model, its sampler, and the graph that they were trained on.

    `sparring.fit` and `sparring.load` make one::

        predictor = sparring.fit("atlas", epochs=5)
        predictor.predict(head="Iceland", relation="currency", k=3)
        predictor.score([("Iceland", "currency", "euro")])
        predictor.save("iceland")

    Triples are given as rows of (head, relation, tail) by name, as a Polars or pandas frame, or as
    an integer tensor of ids. A label that only one entity has is as good as its name.

    Args:
        run: a run, finished or not, with its files.
        device: where the model is to be.
        objects: parts that were given to `fit` as objects, by table.
        temporary: the folder of the run, if it is to be deleted with the predictor.

    Attributes:
        run: folder and files of the training.
        graph: names, facts and splits.

    Raises:
        RunError: if the folder is not that of a run.
        ConfigError: if a part was given as an object and is missing.
    """

    def __init__(
        self,
        run: Run,
        *,
        device: str = "cpu",
        objects: Mapping[str, nn.Module] = MappingProxyType({}),
        temporary: tempfile.TemporaryDirectory | None = None,
    ) -> None:
        self.run, self._temporary = run, temporary
        self.config = run.config([f'device="{device}"'])
        self.graph: KnowledgeGraph = run.graph(self.config)
        self.step = run.load_step(self.config, self.graph, objects)

    @property
    def model(self) -> KGEModel:
        """The trained model."""
        return self.step.model

    @property
    def sampler(self) -> NegativeSampler:
        """The sampler as training left it."""
        return self.step.sampler

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Filtered metrics by split: those of the result, and the best ones on `valid`."""
        return self.run.metrics()

    @cached_property
    def history(self) -> pl.DataFrame:
        """What was logged while training, one row per record."""
        return pl.DataFrame(self.run.log(), infer_schema_length=None)

    def predict(
        self,
        head: str | None = None,
        relation: str | None = None,
        tail: str | None = None,
        *,
        queries: Sequence[PredictionQuery | tuple[str | None, str | None, str | None]]
        | None = None,
        k: int = 10,
        remove: Sequence[str] = SPLITS,
        exclude_anchor: bool = True,
        types: Sequence[str] = (),
        guide: float = 0.0,
        retrieve: int = 0,
    ) -> Prediction:
        """The most plausible entities, or relations, that complete a triple, or several.

        After `calibrate`, answers have probabilities.

        Args:
            head, relation, tail: the query, by name or label, without the part to predict.
            queries: many queries instead; triples with None for the part to predict.
            k: answers per query.
            remove: splits whose facts are left out of the answers; () to keep known facts.
            exclude_anchor: whether to leave out the query's own entity, except for relations that
                lead from some entity to itself in the training facts.
            types: names of entity types; only entities of one of them are answers.
            guide: weight of the generator's log-probability that is added to the scores.
            retrieve: entities to score per query, those most probable to the generator; 0 for all.

        Raises:
            UnknownNameError: for an unknown name; suggests similar ones.
            ValueError: if a query does not leave out exactly one part.
        """
        if queries is None:
            queries = [(head, relation, tail)]
        elif (head, relation, tail) != (None, None, None):
            raise ValueError("give either queries, or two of head, relation and tail")
        asked = [
            query if isinstance(query, PredictionQuery) else PredictionQuery(*query)
            for query in queries
        ]
        proposal: ProposalDistribution | None = as_proposal(self.sampler) if retrieve else None
        return predict(
            ensemble(self.step, guide),
            self.graph,
            asked,
            k=k,
            remove=remove,
            exclude_anchor=exclude_anchor,
            types=types,
            calibration=self.run.calibration(guide),
            proposal=proposal,
            retrieve=retrieve,
        )

    def calibrate(
        self,
        *,
        method: Literal["auto", "logistic", "isotonic"] = "auto",
        completeness: float = 0.9,
        guide: float = 0.0,
    ) -> ProbabilityCalibration:
        """Fit probabilities on the validation triples, and keep them in the folder of the run.

        Args:
            method, completeness: see `fit_calibration`.
            guide: weight of the generator's log-probability in the scores; the calibration is for
                predictions with this weight.
        """
        found = fit_calibration(
            ensemble(self.step, guide),
            self.graph,
            sampler=self.sampler,
            method=method,
            completeness=completeness,
            guide=guide,
        )
        self.run.save_calibration(found)
        return found

    def explain(
        self, triple: tuple[str, str, str], *, max_reasons: int = 5, max_nearest: int = 5
    ) -> Explanation:
        """The mined rules that predict a triple, or the nearest training facts.

        Rules are mined once, when they are first needed. They say what the training facts say for
        the triple, not how the model computes its score.

        Args:
            triple: head, relation and tail, by name or label.
            max_reasons, max_nearest: rules and nearest facts to give, at most.
        """
        return explain(
            self.graph,
            triple,
            model=self.model,
            max_reasons=max_reasons,
            max_nearest=max_nearest,
        )

    def score(self, triples: Any) -> Float[Tensor, "T"]:
        """Scores of triples, in the units of the model; higher is more plausible.

        Each is the mean of two: that of the tail given head and relation, and that of the head.
        """
        return score_triples(self.model, self.graph, triple_ids(self.graph, triples))

    def probability(self, triples: Any) -> Float[Tensor, "T"]:
        """Probabilities that triples are true, after `calibrate`; see `fit_calibration`.

        Raises:
            RunError: without a calibration.
        """
        calibration = self.run.required_calibration()
        ids = triple_ids(self.graph, triples)
        found: Any = rate_triples(self.model, self.graph, ids, calibration=calibration).probability
        return found.cpu()

    def evaluate(self, triples: Any = "test") -> dict[str, float]:
        """Filtered metrics on triples.

        Facts of all splits are filtered; for "valid" and "train" those of train and valid, as in
        validation while training.

        Args:
            triples: of any kind, or the name of a split.
        """
        split = triples if isinstance(triples, str) and triples in SPLITS else None
        ids = getattr(self.graph, split) if split else triple_ids(self.graph, triples)
        known = self.graph.known_for_validation if split in ("train", "valid") else self.graph.known
        device = step_device(self.step)
        return metrics(evaluate(self.model, ids.to(device), known.to(device)))

    def negatives(self, triples: Any, *, k: int | None = None) -> DrawnNegatives:
        """What the sampler draws in place of the tails and of the heads of triples.

        Args:
            k: negatives per query; as many as in training by default.
        """
        return draw_negatives(
            self.model,
            self.sampler,
            self.graph,
            triple_ids(self.graph, triples),
            k=self.sampler.k if k is None else k,
            rng=Seeds(self.config.general.seed).fresh("negatives", step_device(self.step)),
        )

    def audit(self, *, extra: Any = ()) -> Audit:
        """How hard and varied the sampler's negatives are, and how many are false negatives.

        Args:
            extra: further true triples, which training has not seen.
        """
        more = triple_ids(self.graph, extra) if len(extra) else None
        return audit_sampler(self.step, self.graph, self.config, model=self.model, extra_true=more)

    def save(self, folder: str | Path) -> Path:
        """Copy the run, with its graph, into a new folder, from which `load` reads it anywhere.

        Raises:
            RunError: if there is something at this place already.
        """
        folder = Path(folder)
        if folder.exists():
            raise RunError(f"{folder} exists already; name another folder, or delete it first")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as draft:
            copied = shutil.copytree(self.run.folder, Path(draft, folder.name))
            copied.rename(folder)
        return folder

    def update(
        self,
        facts: Any,
        *,
        epochs: int | None = None,
        folder: str | Path | None = None,
        progress: bool = False,
    ) -> "Predictor":
        """A predictor that knows further facts, trained on from this one.

        Present entities and relations keep their ids and start from their vectors; new ones start
        at random. All facts are trained on. This predictor stays as it is.

        Args:
            facts: triples by name; those that the graph has already are left out.
            epochs: a third of the epochs of this run by default.
            folder: of the new run; a temporary one, deleted with the predictor, by default.
            progress: show a progress bar.
        """
        graph = with_facts(self.graph, facts)
        tables = self.config.as_dict()
        options = self.config.train
        epochs = math.ceil(options.epochs / 3) if epochs is None else epochs
        train = {**tables["train"], "epochs": epochs}
        train["validate_every"] = min(options.validate_every, max(1, epochs))
        # the rate falls to 0, so that little is lost of what was learned
        changed = {"train": train, "schedule": {"name": "linear"}, "start": str(self.run.folder)}
        plan = Plan({**tables, **changed})
        console = Console(stderr=True) if progress else None
        return fitted(plan, graph, folder, console=console, device=self.config.general.device)

    def __repr__(self) -> str:
        return f"Predictor({', '.join(f'{name}: {text}' for name, text in self._summary())})"

    def _repr_html_(self) -> str:
        return html_table((), self._summary(), (True, True))

    def _summary(self) -> list[tuple[str, str]]:
        graph = self.graph
        sizes = (
            f"{graph.name} ({len(graph.entities):,} entities, {len(graph.relations):,} relations, "
            f"{len(graph.train):,} training facts)"
        )
        numbers = [
            (f"{split} MRR", f"{values['mrr']:.4f}") for split, values in self.metrics.items()
        ]
        return [
            ("model", type(self.model).__name__),
            ("sampler", type(self.sampler).__name__),
            ("graph", sizes),
            *numbers,
            ("folder", str(self.run.folder)),
        ]


def fitted(
    plan: Plan,
    graph: KnowledgeGraph,
    folder: str | Path | None,
    *,
    resume: bool = False,
    console: Console | None = None,
    device: str = "cpu",
) -> Predictor:
    """Train a plan, in a temporary folder where none is given.

    Raises:
        KeyboardInterrupt: if training was stopped early; says how to continue.
    """
    temporary = None
    if folder is None:
        temporary = tempfile.TemporaryDirectory(prefix="sparring-")
        folder = Path(temporary.name, "run")
    run = train_plan(plan, graph, Path(folder), resume=resume, console=console)
    if run is None:
        raise KeyboardInterrupt(
            f"stopped; to continue: fit(..., folder={str(folder)!r}, resume=True)"
        )
    return Predictor(run, device=device, objects=plan.objects, temporary=temporary)
