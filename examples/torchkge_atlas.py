"""TorchKGE's training loop with uniform negatives, and with a generator that learns from it."""

import torch
from torchkge import ComplExModel, LinkPredictionEvaluator, MarginLoss
from torchkge.utils import DataLoader

from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter
from sparring.integrations.torchkge import ObservedLoss, SparringNegativeSampler, train_and_test
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

train, test = train_and_test(load_embedded())


def n3(model, entities):
    """Sum of the cubed magnitudes of the vectors of these entities (Lacroix et al., 2018)."""
    return torch.hypot(model.re_ent_emb(entities), model.im_ent_emb(entities)).pow(3).sum()


samplers = [
    lambda graph: UniformFiltered(graph, k=8),
    lambda graph: NSGenerator(graph, k=8),
]
for make_sampler in samplers:
    torch.manual_seed(0)
    adapter = Adapter(make_sampler, loss=SampledSoftmax(correction="both"))
    model = ComplExModel(32, train.n_ent, train.n_rel)
    sampler = SparringNegativeSampler(train, adapter, model)
    criterion = ObservedLoss(MarginLoss(0.5), adapter)  # the adapter has a loss of its own
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    batches = list(DataLoader(train, batch_size=512))
    for head, tail, relation in 10 * batches:
        negatives = sampler.corrupt_batch(head, tail, relation)
        loss = criterion(*model(head, tail, relation, *negatives))
        loss = loss + 1e-4 * n3(model, torch.stack([head, tail]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    evaluator = LinkPredictionEvaluator(model, test)
    evaluator.evaluate(b_size=64, verbose=False)
    print(f"{adapter}: filtered MRR {evaluator.mrr()[1]:.3f}")
