"""PyG's ComplEx with uniform negatives, and with a generator that learns from it."""

import torch
from torch_geometric.nn.kge import ComplEx

from sparring.data.datasets import load_embedded
from sparring.evaluation.ranking import evaluate
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter, ExternalModel
from sparring.integrations.pyg import with_adapter
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

graph = load_embedded()


def n3(model, nodes):
    """Sum of the cubed magnitudes of the vectors of these nodes (Lacroix et al., 2018)."""
    return torch.hypot(model.node_emb(nodes), model.node_emb_im(nodes)).pow(3).sum()


samplers = [
    lambda graph: UniformFiltered(graph, k=8),
    lambda graph: UniformFiltered(graph, k=10),
    lambda graph: NSGenerator(graph, k=8),
]
for make_sampler in samplers:
    torch.manual_seed(0)
    adapter = Adapter(make_sampler, loss=SampledSoftmax(correction="both"))
    model = with_adapter(ComplEx, adapter)(len(graph.entities), 40, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    batches = list(model.loader(*graph.train.T, batch_size=512, shuffle=True))
    for head, relation, tail in 10 * batches:
        loss = model.loss(head, relation, tail) + 1e-4 * n3(model, torch.stack([head, tail]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    mrr = evaluate(ExternalModel(adapter), graph.test, graph.known).mrr()
    print(f"{adapter}, MRR {mrr:.3f}")
