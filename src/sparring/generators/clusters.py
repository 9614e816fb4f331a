"""k-means, with nothing random in it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cluster(
    points: Float[Tensor, "N d"], centroid: Float[Tensor, "C d"], rounds: int
) -> tuple[Float[Tensor, "C d"], Int[Tensor, "N"]]:
    """Centroids after some rounds from the given ones, and the nearest of each point.

    A centroid that is nearest to no point stays where it is.
    """
    one = torch.ones_like(points[:, 0])
    for _ in range(rounds):
        code = torch.cdist(points, centroid).argmin(1)
        count = one.new_zeros(len(centroid)).index_add(0, code, one).unsqueeze(1)
        total = torch.zeros_like(centroid).index_add(0, code, points)
        centroid = torch.where(count > 0, total / count.clamp(min=1), centroid)
    return centroid, torch.cdist(points, centroid).argmin(1)
