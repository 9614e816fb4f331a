"""TorchKGE's training loop with uniform negatives, and with a generator that learns from it."""

import torch
from torchkge import ComplExModel, LinkPredictionEvaluator, MarginLoss
from torchkge.utils import DataLoader

from sparring.datasets.embedded import load_embedded
from sparring.generators import SparringGenerator
from sparring.hosts import bridge, torchkge
from sparring.losses import Softmax
from sparring.samplers import UniformUnknown

train, test = torchkge.splits_of(load_embedded())
for make in (lambda g: UniformUnknown(g, k=72), lambda g: SparringGenerator(g, k=8)):
    torch.manual_seed(0)
    model, link = ComplExModel(32, train.n_ent, train.n_rel), bridge.Bridge(make, loss=Softmax())
    sampler = torchkge.SparringSampler(train, link, model)
    criterion = torchkge.Overheard(MarginLoss(0.5), link)  # `loss` above stands in for it
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for h, t, r in 10 * list(DataLoader(train, batch_size=512)):
        optimizer.zero_grad()
        criterion(*model(h, t, r, *sampler.corrupt_batch(h, t, r))).backward()
        optimizer.step()
    (found := LinkPredictionEvaluator(model, test)).evaluate(b_size=64, verbose=False)
    print(f"{link}: filtered MRR {found.mrr()[1]:.3f}")
