"""A balanced binary tree over points: halved again and again along their widest direction."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def halve(points: Float[Tensor, "N d"], rounds: int = 8) -> tuple[Int[Tensor, "N"], int]:
    """The leaf of each point and the depth of the tree, which is log2(N), rounded up.

    At each level every node's points are sorted along the dominant direction of their spread,
    found by power iteration, and the first half goes left. Leaves are in [0, 2 ** depth), and
    a point's node at level l is leaf >> (depth - l).
    """
    size, depth = len(points), max(math.ceil(math.log2(len(points))), 1)
    node = torch.zeros(size, dtype=torch.long, device=points.device)
    for level in range(depth):
        along = _along(points, node, 2**level, rounds)
        order = along.argsort(stable=True)
        order = order[node[order].argsort(stable=True)]
        count = torch.bincount(node, minlength=2**level)
        first = count.cumsum(0) - count
        rank = torch.empty_like(node)
        rank[order] = torch.arange(size, device=points.device) - first[node[order]]
        node = 2 * node + (rank >= (count[node] + 1) // 2)
    return node, depth


def _along(
    points: Float[Tensor, "N d"], node: Int[Tensor, "N"], nodes: int, rounds: int
) -> Float[Tensor, "N"]:
    """Place of each point along the dominant direction of its node."""
    gather = lambda rows: rows.new_zeros(nodes, rows.shape[1]).index_add(0, node, rows)
    count = gather(torch.ones_like(points[:, :1])).clamp(min=1)
    centred = points - (gather(points) / count)[node]
    # directions start at each node's widest coordinate
    widest = gather(centred**2).argmax(1)
    direction = torch.nn.functional.one_hot(widest, points.shape[1]).to(points.dtype)
    for _ in range(rounds):
        along = (centred * direction[node]).sum(1, keepdim=True)
        direction = torch.nn.functional.normalize(gather(along * centred), dim=1)
    return (centred * direction[node]).sum(1)
