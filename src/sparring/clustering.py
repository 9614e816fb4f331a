"""Clusters of vectors."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

MOST_ROUNDS = 1000


def k_means(
    points: Float[Tensor, "N d"],
    centroids: Float[Tensor, "C d"],
    rounds: int,
    *,
    chunk_size: int | None = None,
    repeatable: bool = False,
) -> tuple[Float[Tensor, "C d"], Int[Tensor, "N"]]:
    """Lloyd's algorithm: centroids after some rounds, and the nearest one of each point.

    A centroid that is nearest to no point stays where it is.

    Args:
        centroids: where they start.
        rounds: how often they move to the mean of their points.
        chunk_size: points compared with the centroids at a time; None for all.
        repeatable: on a GPU, add points up in a fixed order, by matrix products.

    Raises:
        ValueError: for more rounds than could ever matter.
    """
    if rounds > MOST_ROUNDS:
        raise ValueError(f"k-means takes at most {MOST_ROUNDS} rounds; got {rounds}")
    add_up = _sums_by_product if repeatable else _sums_by_index
    parts = points.split(chunk_size or max(1, len(points)))
    for _ in range(rounds):
        total, count = torch.zeros_like(centroids), centroids.new_zeros(len(centroids), 1)
        for part in parts:
            more, members = add_up(part, nearest_centroid(part, centroids), len(centroids))
            total, count = total + more, count + members
        centroids = torch.where(count > 0, total / count.clamp(min=1), centroids)
    return centroids, torch.cat([nearest_centroid(part, centroids) for part in parts])


def nearest_centroid(
    points: Float[Tensor, "n d"], centroids: Float[Tensor, "C d"]
) -> Int[Tensor, "n"]:
    """The nearest centroid of each point; of equally near ones, the first."""
    return torch.cdist(points, centroids).argmin(1)


def _sums_by_index(
    points: Float[Tensor, "n d"], cluster: Int[Tensor, "n"], num_clusters: int
) -> tuple[Float[Tensor, "C d"], Float[Tensor, "C 1"]]:
    """The sum and the number of the points of each cluster."""
    ones, zeros = torch.ones_like(points[:, :1]), points.new_zeros(num_clusters, points.shape[1])
    total = zeros.index_add(0, cluster, points)
    return total, zeros[:, :1].index_add(0, cluster, ones)


def _sums_by_product(
    points: Float[Tensor, "n d"], cluster: Int[Tensor, "n"], num_clusters: int
) -> tuple[Float[Tensor, "C d"], Float[Tensor, "C 1"]]:
    """The same as a matrix product, because adding by index is not repeatable on a GPU."""
    member = nn.functional.one_hot(cluster, num_clusters).to(points.dtype)
    return member.mT @ points, member.sum(0).unsqueeze(1)
