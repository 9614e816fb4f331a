"""One training step, in the order in which it happens."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sparring.batch import Feedback
from sparring.corruption import Corruption
from sparring.losses import Loss
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler


class TrainingStep(nn.Module):
    """Main model, sampler, loss and sides: what one step trains together.

    A module, so that moving it to a device or saving its state takes everything along.

    Raises:
        ValueError: if the loss needs a density that the sampler does not state.
    """

    def __init__(
        self, model: KGEModel, sampler: NegativeSampler, loss: Loss, corruption: Corruption
    ):
        super().__init__()
        if loss.needs_log_q and not sampler.capabilities.has_log_q:
            raise ValueError(
                f"{type(loss).__name__} corrects for the density of its negatives, but "
                f"{type(sampler).__name__} states none; use another loss or sampler"
            )
        if loss.needs_log_q and not model.trains_on_entities:
            raise ValueError(
                f"{type(loss).__name__} corrects for the density of its negatives, but "
                f"{type(model).__name__} alters them, and what comes out has none; use a loss "
                "without correction"
            )
        if loss.needs_answer_log_q and not sampler.capabilities.has_answer_log_q:
            raise ValueError(
                f"{type(loss).__name__} corrects for the density of answers, which "
                f"{type(sampler).__name__} does not state; correct negatives only, or use "
                "another sampler"
            )
        self.model, self.sampler, self.loss, self.corruption = model, sampler, loss, corruption
        sampler.bind_model(model)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What the main optimiser updates; a sampler's own parameters are its own affair."""
        parts = [*self.model.parameters(), *self.loss.parameters()]
        return [parameter for parameter in parts if parameter.requires_grad]

    def forward(
        self,
        triples: Int[Tensor, "T 3"],
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Learn from these triples; return scalars worth logging, still on the device."""
        queries = self.corruption(triples, rng)
        score = self.model(queries)  # the encoder runs here, once

        negatives = self.sampler.sample(queries, torch.no_grad()(score), rng)
        positive = score(queries.answer.unsqueeze(1)).squeeze(1)
        negative = score(negatives.ids)
        pulled: list[Tensor] = []
        negative.register_hook(pulled.append)  # as `retain_grad`, without the copy

        loss = self.loss(positive, negative, negatives, queries.weight)
        optimizer.zero_grad()
        (loss + self.model.regularization(queries)).backward()
        optimizer.step()
        self.model.after_step()

        gradient = pulled[0] if pulled else torch.zeros_like(negative)
        seen = Feedback(queries, negatives, positive.detach(), negative.detach(), gradient)
        return {"loss": loss.detach(), **self.sampler.observe(seen)}
