"""One update step, in the order in which it happens."""

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sparring.batch import Feedback
from sparring.corruption import Corruption
from sparring.losses import Loss
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler


class TrainingStep(nn.Module):
    """Model, sampler, loss and corruption: what is trained together.

    As a module it moves to a device, and is saved, as a whole. `forward` is one update step.

    Args:
        model: scores candidates.
        sampler: draws negatives, and may learn from the scores that they got.
        loss: compares the scores of answers and negatives.
        corruption: turns triples into queries.
        terms: further terms of the loss, such as `CuratedNegatives`: modules that take the model
            and random numbers.

    Raises:
        ValueError: if the loss needs a density that the sampler does not know.
    """

    def __init__(
        self,
        model: KGEModel,
        sampler: NegativeSampler,
        loss: Loss,
        corruption: Corruption,
        terms: Iterable[nn.Module] = (),
    ):
        super().__init__()
        loss.check(sampler, model)
        self.model, self.sampler, self.loss, self.corruption = model, sampler, loss, corruption
        self.terms = nn.ModuleList(terms)
        sampler.bind_model(model)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What the optimizer updates; a sampler trains its own parameters itself."""
        parts = [*self.model.parameters(), *self.loss.parameters()]
        return [parameter for parameter in parts if parameter.requires_grad]

    def forward(
        self,
        triples: Int[Tensor, "T 3"],
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Learn from these triples.

        Args:
            triples: (head, relation, tail) of the batch.
            optimizer: of `trainable_parameters`.
            rng: on the device of the triples; all random draws of the step come from it.

        Returns:
            Scalars to log, still on the device: "loss", and those of the sampler.
        """
        queries = self.sampler.arrange(self.corruption(triples, rng))
        score = self.model(queries)  # the encoder runs here, once

        negatives = self.sampler.sample(queries, torch.no_grad()(score), rng)
        positive = score(queries.answer.unsqueeze(1)).squeeze(1)
        negative = negatives.per_candidate(score)
        gradients: list[Tensor] = []
        negative.register_hook(gradients.append)  # as `retain_grad`, without the copy

        loss = self.loss(positive, negative, negatives, queries.weight)
        total = loss + self.model.regularization(queries)
        for term in self.terms:
            total = total + term(self.model, rng)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        self.model.after_step()

        gradient = gradients[0] if gradients else torch.zeros_like(negative)
        feedback = Feedback(queries, negatives, positive.detach(), negative.detach(), gradient)
        return {"loss": loss.detach(), **self.sampler.observe(feedback)}
