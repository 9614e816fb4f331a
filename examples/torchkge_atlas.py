"""TorchKGE's training loop with uniform negatives, and with a generator that learns from it."""

import torch
from torchkge import ComplExModel, LinkPredictionEvaluator, MarginLoss, utils

from sparring.data.datasets import load_embedded
from sparring.generators import NSGenerator
from sparring.integrations import adapter as adapter
from sparring.integrations import torchkge
from sparring.losses import SampledSoftmax
from sparring.samplers import UniformFiltered

(train, test), loss = torchkge.train_and_test(load_embedded()), SampledSoftmax(correction="both")
for make in (lambda g: UniformFiltered(g, k=8), lambda g: NSGenerator(g, k=8)):
    torch.manual_seed(0)
    link, model = adapter.Adapter(make, loss=loss), ComplExModel(32, train.n_ent, train.n_rel)
    corrupt = torchkge.SparringNegativeSampler(train, link, model).corrupt_batch
    heard = torchkge.ObservedLoss(MarginLoss(0.5), link)  # `loss` stands in for the margin
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    fall = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    for h, t, r in 10 * list(utils.DataLoader(train, batch_size=512)):
        size = torch.hypot(model.re_ent_emb(ends := torch.stack([h, t])), model.im_ent_emb(ends))
        (heard(*model(h, t, r, *corrupt(h, t, r))) + 1e-4 * size.pow(3).sum()).backward()  # N3
        optimizer.step(), fall.step(), optimizer.zero_grad()
    (found := LinkPredictionEvaluator(model, test)).evaluate(b_size=64, verbose=False)
    print(f"{link}: filtered MRR {found.mrr()[1]:.3f}")
