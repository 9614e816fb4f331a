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

graph, loss = load_embedded(), SampledSoftmax(correction="both")
few, many = (lambda graph, k=k: UniformFiltered(graph, k=k) for k in (8, 10))
for make in (few, many, lambda graph: NSGenerator(graph, k=8)):
    torch.manual_seed(0)
    model = with_adapter(ComplEx, link := Adapter(make, loss=loss))(len(graph.entities), 40, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    fall = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    for batch in 10 * list(model.loader(*graph.train.T, batch_size=512, shuffle=True)):
        size = torch.hypot(model.node_emb(ends := torch.stack(batch[::2])), model.node_emb_im(ends))
        (model.loss(*batch) + 1e-4 * size.pow(3).sum()).backward()  # N3
        optimizer.step(), fall.step(), optimizer.zero_grad()
    print(f"{link}, MRR {evaluate(ExternalModel(link), graph.test, graph.known).mrr():.3f}")
