"""Small instances of samplers, by name, for the zoo."""

from sparring.samplers import KHop, Positional, RandomWalk, Typed, WalkEnds

EXACT = {
    "k-hop": lambda graph: KHop(graph, k=5, hops=1),
    "k-hop-floored": lambda graph: KHop(graph, k=5, hops=1, floor=0.5),
    "positional": lambda graph: Positional(graph, k=5),
    "typed": lambda graph: Typed(graph, k=5),
    "walk-ends": lambda graph: WalkEnds(graph, k=5, walks=20),
    "walk-ends-compat": lambda graph: WalkEnds(graph, k=5, walks=20, compat=True),
}
INEXACT = {
    "random-walk": lambda graph: RandomWalk(graph, k=5),
}
