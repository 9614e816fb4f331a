"""Models whose score is an inner product of a query vector with the candidate."""

import torch

from sparring.models.base import EmbeddingModel, complex_magnitude
from sparring.models.scorers import DotScorer
from sparring.registry import register


@register("distmult", example={"dim": 8})
class DistMult(EmbeddingModel):
    """<anchor, relation, candidate>; without own inverses, every relation is symmetric.

    Yang et al., 2015, "Embedding Entities and Relations for Learning and Inference in
    Knowledge Bases".
    """

    def forward(self, queries):
        relation = self.relation(self.relation_row(queries.relation))
        return DotScorer(self.drop(self.entity(queries.anchor) * relation), self.entity)


@register("complex", example={"dim": 8})
class ComplEx(EmbeddingModel):
    """Re<anchor, relation, conj(candidate)>; a relation's inverse is its conjugate.

    Trouillon et al., 2016, "Complex Embeddings for Simple Link Prediction".
    """

    width = 2

    def magnitude(self, vectors):
        return complex_magnitude(vectors)

    def forward(self, queries):
        a, b = self.entity(queries.anchor).chunk(2, dim=1)
        c, d = self.relation(self.relation_row(queries.relation)).chunk(2, dim=1)
        d = d * self.turned(queries.relation)
        query = torch.cat([a * c - b * d, a * d + b * c], dim=1)
        return DotScorer(self.drop(query), self.entity)


@register("rescal", example={"dim": 4})
class RESCAL(EmbeddingModel):
    """anchor' W candidate with a full matrix per relation; the inverse transposes it.

    Nickel et al., 2011, "A Three-Way Model for Collective Learning on Multi-Relational Data".
    """

    def relation_width(self):
        return self.dim**2

    def forward(self, queries):
        matrix = self.relation(self.relation_row(queries.relation)).unflatten(1, (self.dim, -1))
        inverse = (self.turned(queries.relation) < 0).unsqueeze(2)
        matrix = torch.where(inverse, matrix.mT, matrix)
        query = torch.einsum("bi,bij->bj", self.entity(queries.anchor), matrix)
        return DotScorer(self.drop(query), self.entity)
