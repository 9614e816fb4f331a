import pytest
import torch

from sparring.clustering import k_means

# three groups of four on a line: 0, 3, 6, 9 | 1, 4, 7, 10 | 2, 5, 8, 11
POINTS = torch.tensor([[(e % 3) * 100.0 + e / 10] for e in range(12)])
START = POINTS[torch.randperm(12, generator=torch.Generator().manual_seed(1))[:3]]

both_sums = pytest.mark.parametrize("repeatable", [True, False])


@both_sums
def test_clusters_are_found(repeatable):
    centroids, cluster = k_means(POINTS, START, 20, repeatable=repeatable)
    groups = {frozenset((cluster == c).nonzero().flatten().tolist()) for c in range(3)}
    assert groups == {frozenset(range(start, 12, 3)) for start in range(3)}
    want = torch.tensor([0.45, 100.55, 200.65])
    torch.testing.assert_close(centroids.flatten().sort().values, want)


@both_sums
def test_clusters_by_hand(repeatable):
    points = torch.tensor([[0.0], [0.2], [9.0], [9.4], [9.2]])
    centroids, cluster = k_means(points, points[:2], 5, repeatable=repeatable)
    torch.testing.assert_close(centroids, torch.tensor([[0.1], [9.2]]))
    assert cluster.tolist() == [0, 0, 1, 1, 1]


@both_sums
def test_chunks_give_the_same_clusters(repeatable):
    whole = k_means(POINTS, START, 20, repeatable=repeatable)[1]
    chunks = k_means(POINTS, START, 20, repeatable=repeatable, chunk_size=2)[1]
    assert torch.equal(chunks, whole)


@both_sums
def test_a_centroid_without_points_stays(repeatable):
    points, start = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [99.0]])
    centroids, cluster = k_means(points, start, 3, repeatable=repeatable)
    assert centroids.tolist() == [[1.5], [99.0]]
    assert cluster.tolist() == [0, 0]


def test_of_equal_centroids_the_first_is_the_nearest():
    centroids, cluster = k_means(torch.ones(3, 1), torch.ones(2, 1), 3)
    assert centroids.flatten().tolist() == [1.0, 1.0]
    assert cluster.tolist() == [0, 0, 0]
