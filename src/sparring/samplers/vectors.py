"""Where to find a model's vector of each entity."""

from jaxtyping import Float
from torch import Tensor, nn


def entity_vectors(model: nn.Module) -> Float[Tensor, "N d"]:
    """The rows of the model's table `entity`, as they are now and without gradients.

    Raises:
        ValueError: if the model has no such table.
    """
    table = getattr(model, "entity", None)
    if not isinstance(table, nn.Embedding):
        raise ValueError(
            f"{type(model).__name__} has no embedding table `entity`, whose rows tell which "
            "entities are alike; use another model, or a sampler that goes by scores"
        )
    return table.weight.detach()
