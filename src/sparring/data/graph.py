"""`KnowledgeGraph` holds the triples of all splits, `TrainGraph` what training may see.

Also the cardinality of relations: tails per head, heads per tail, and the classes 1-1, 1-N, N-1 and
N-N.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.data.hashes import HASH_VERSION, digest_of_ids, digest_of_strings, id_bytes
from sparring.data.index import TripleIndex
from sparring.data.split import SplitRule
from sparring.data.vocabulary import Vocabulary
from sparring.printing import html_table

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class TrainGraph:
    """The training triples: all that models and samplers see of a graph.

    Attributes:
        triples: (head, relation, tail) ids of the training triples.
        num_entities: number of entities, N.
        num_relations: number of relations, R; queries have relation ids in [0, 2R).
        entity_type: (entity, type) pairs of the data; None if there are none.
        held_out: true triples that are not in `triples`, for calibrating estimates of false
            negatives. They are not known facts, so they can be drawn as negatives.
        labels: readable label of each entity, by id; None if there are none.
        rejected: triples that people have said are false; None if there are none.
    """

    triples: Int[Tensor, "T 3"]
    num_entities: int
    num_relations: int
    entity_type: Int[Tensor, "P 2"] | None = None
    held_out: Int[Tensor, "H 3"] | None = None
    labels: pl.Series | None = None
    rejected: Int[Tensor, "X 3"] | None = None

    def hold_out(self, fraction: float) -> "TrainGraph":
        """The same graph with a random fraction of its triples held out.

        Every entity and relation keeps a triple. The choice depends only on the triples.

        Args:
            fraction: of the triples, from 0 up to, but not including, 1.

        Raises:
            GraphError: if the fraction is not in this range, or too few triples can be held out.
        """
        if not fraction:
            return self
        rule = SplitRule(valid=fraction, test=0.0)
        kept, held, _ = rule.rows(self.triples.cpu(), self.num_entities, self.num_relations)
        kept, held = (self.triples[rows.to(self.triples.device)] for rows in (kept, held))
        return replace(self, triples=kept, held_out=held)

    @cached_property
    def known(self) -> TripleIndex:
        """Index of the training triples."""
        return TripleIndex(self.triples, self.num_entities, self.num_relations)

    @cached_property
    def known_false(self) -> TripleIndex:
        """Index of the rejected triples."""
        rejected = self.triples[:0] if self.rejected is None else self.rejected
        return TripleIndex(rejected, self.num_entities, self.num_relations)

    @cached_property
    def degree(self) -> Float[Tensor, "N"]:
        """Training triples that mention each entity; a self-loop counts twice."""
        ends = self.triples[:, [0, 2]].flatten()
        return torch.bincount(ends, minlength=self.num_entities).float()

    @cached_property
    def content_hash(self) -> str:
        """BLAKE2 digest of sizes, triples, types and labels; equal for graphs with the same ids."""
        return self.hash()

    def hash(self, version: int = HASH_VERSION) -> str:
        """The content hash as earlier versions made it; see `sparring.data.hashes`."""
        sizes = f"{self.num_entities} {self.num_relations}"
        digest = hashlib.blake2b(sizes.encode(), digest_size=16)
        digest.update(id_bytes(self.triples))
        if version > 1:
            digest.update(digest_of_ids(self.entity_type))
            digest.update(b"" if self.labels is None else digest_of_strings(self.labels))
        digest.update(_digest_of_rejected(self.rejected))
        return digest.hexdigest()

    def to(self, device: torch.device) -> "TrainGraph":
        """The same graph on another device."""
        if self.triples.device == device:
            return self
        names = ("triples", "entity_type", "held_out", "rejected")
        tensors = {name: getattr(self, name) for name in names}
        moved = {name: None if each is None else each.to(device) for name, each in tensors.items()}
        return replace(self, **moved)


@dataclass(frozen=True, eq=False, repr=False)
class KnowledgeGraph:
    """Vocabulary and splits. Ids are positions in `entities` and `relations`.

    Attributes:
        name: name of the graph.
        entities: names and labels of the entities.
        relations: names and labels of the relations.
        train, valid, test: (head, relation, tail) ids of each split.
        types: names of the entity types, by id.
        entity_type: (entity, type) pairs; None if there are none.
        notes: counts of what the reader reported: dropped rows, overlaps, unseen names.
        hold_out: fraction of `train` that `training` holds out.
        rejected: triples that people have said are false; None if there are none.

    Raises:
        ValueError: if a triple has an id outside the vocabulary.
    """

    name: str
    entities: Vocabulary
    relations: Vocabulary
    train: Int[Tensor, "T 3"]
    valid: Int[Tensor, "V 3"]
    test: Int[Tensor, "S 3"]
    types: tuple[str, ...] = ()
    entity_type: Int[Tensor, "P 2"] | None = None
    notes: Mapping[str, int] = field(default_factory=dict)
    hold_out: float = 0.0
    rejected: Int[Tensor, "X 3"] | None = None

    def __post_init__(self):
        limit = torch.tensor([len(self.entities), len(self.relations), len(self.entities)])
        for split in SPLITS:
            triples = getattr(self, split)
            outside = ((triples < 0) | (triples >= limit)).any(1)
            if outside.any():
                row = int(outside.nonzero()[0])
                raise ValueError(
                    f"{split} triple {row} is {triples[row].tolist()}, outside the vocabulary of "
                    f"{len(self.entities)} entities and {len(self.relations)} relations"
                )

    def __repr__(self) -> str:
        return f"KnowledgeGraph({', '.join(f'{name}: {text}' for name, text in self._summary())})"

    def _repr_html_(self) -> str:
        return html_table((), self._summary(), (True, True))

    def _summary(self) -> list[tuple[str, str]]:
        sizes = {"entities": self.entities, "relations": self.relations}
        sizes |= {split: getattr(self, split) for split in SPLITS}
        sizes |= {"types": self.types} if self.types else {}
        return [("name", self.name), *((name, f"{len(part):,}") for name, part in sizes.items())]

    @cached_property
    def training(self) -> TrainGraph:
        """The part of the graph that training may see."""
        sizes = len(self.entities), len(self.relations)
        whole = TrainGraph(
            self.train,
            *sizes,
            self.entity_type,
            labels=self.entities.labels,
            rejected=self.rejected,
        )
        return whole.hold_out(self.hold_out)

    @cached_property
    def known(self) -> TripleIndex:
        """Index of the triples of all splits, for evaluation and audit only."""
        triples = torch.cat([self.train, self.valid, self.test])
        return TripleIndex(triples, len(self.entities), len(self.relations))

    @cached_property
    def known_for_validation(self) -> TripleIndex:
        """Index of the triples of train and valid: no choice may depend on those of test."""
        triples = torch.cat([self.train, self.valid])
        return TripleIndex(triples, len(self.entities), len(self.relations))

    @cached_property
    def content_hash(self) -> str:
        """BLAKE2 digest of names, labels, types and triples in their order."""
        return self.hash()

    def hash(self, version: int = HASH_VERSION) -> str:
        """The content hash as earlier versions made it; see `sparring.data.hashes`."""
        digest = hashlib.blake2b(digest_size=16)
        for names in (self.entities, self.relations):
            digest.update(names.digest(version))
        for split in SPLITS:
            triples = getattr(self, split)
            digest.update(f"{split}{len(triples)}".encode())
            digest.update(id_bytes(triples))
        if version > 1:
            digest.update(digest_of_strings(self.types) + digest_of_ids(self.entity_type))
        digest.update(_digest_of_rejected(self.rejected))
        return digest.hexdigest()


def _digest_of_rejected(rejected: Int[Tensor, "X 3"] | None) -> bytes:
    """Nothing without rejected triples, so that hashes of graphs without stay as they were."""
    return b"" if rejected is None else b"rejected" + digest_of_ids(rejected)


CARDINALITIES = ("1-1", "1-N", "N-1", "N-N")
MANY = 1.5


def tails_per_head(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Mean number of distinct tails of the heads of each relation; 0 for an unused relation."""
    return _answers_per_query(graph)[0]


def heads_per_tail(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Mean number of distinct heads of the tails of each relation; 0 for an unused relation."""
    return _answers_per_query(graph)[1]


def cardinality(graph: TrainGraph) -> Int[Tensor, "R"]:
    """Class of each relation, as a position in `CARDINALITIES`; unused relations are 1-1.

    The first sign of a class is about heads, the second about tails: in a 1-N relation, one head
    has many tails. A side is N at `MANY` or more on average (Bordes et al., 2013).
    """
    tails, heads = _answers_per_query(graph)
    return 2 * (heads >= MANY).long() + (tails >= MANY).long()


def _answers_per_query(graph: TrainGraph) -> Float[Tensor, "2 R"]:
    """Mean number of known answers per query that has any, for tail and for head queries."""
    relation, answers = graph.known.queries().relation, graph.known.sizes()
    total = torch.zeros(2 * graph.num_relations, dtype=torch.float64, device=relation.device)
    total.index_add_(0, relation, answers.double())
    queries = torch.bincount(relation, minlength=2 * graph.num_relations)
    return (total / queries.clamp(min=1)).float().view(2, graph.num_relations)
