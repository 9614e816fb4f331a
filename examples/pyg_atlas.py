"""PyG's ComplEx with uniform negatives, and with a generator that learns from it."""

import torch
from torch_geometric.nn.kge import ComplEx

from sparring.datasets.embedded import load_embedded
from sparring.generators import SparringGenerator
from sparring.hosts.bridge import Bridge
from sparring.hosts.pyg import bridged
from sparring.losses import Softmax
from sparring.samplers import UniformUnknown

graph, loss = load_embedded(), Softmax(correction="both")
few, many = (lambda graph, k=k: UniformUnknown(graph, k=k) for k in (8, 72))
learned = lambda graph: SparringGenerator(graph, k=8)  # asks for 64 more scores, to learn from
for name, make in {"8 uniform": few, "72 uniform": many, "8 learned": learned}.items():
    torch.manual_seed(0)
    model = bridged(ComplEx, Bridge(make, loss=loss))(len(graph.entities), 40, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for batch in 10 * list(model.loader(*graph.train.T, batch_size=512, shuffle=True)):
        optimizer.zero_grad()
        size = torch.hypot(model.node_emb(ends := torch.stack(batch[::2])), model.node_emb_im(ends))
        (model.loss(*batch) + 1e-4 * size.pow(3).sum()).backward()  # N3
        optimizer.step()
    print(f"{name}: MRR {model.test(*graph.test.T, batch_size=9999, log=False)[1]:.3f}")
