"""What mined rules add to the estimate of missing facts.

    python research/scripts/rules_as_evidence.py ../shared/data

trains research/configs/withheld/fb15k-237.toml, unless runs/withheld/fb15k-237 holds it, and writes
research/results/withheld/fb15k-237-rules.json. Its generator draws; half of the draws fit two
small networks of the shape that `FalseNegativeClassifier` has, on the training facts held out, one
with what `FalseNegativeClassifier` sees and one with the belief of the rules as well. The other
half evaluates them, and what the generator learned while training: by cross-entropy of being held
out, and against the withheld facts of validation and test, which nothing else sees. Rules are mined
from the training facts that are not held out.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from withheld import trained

from sparring.corruption import tail_and_head_queries
from sparring.data.index import TripleIndex
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.generators.false_negatives import classifier_network, pu_cross_entropy
from sparring.models.rule_mining import mine_rules
from sparring.models.rules import RulePredictor

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "research" / "results" / "withheld" / "fb15k-237-rules.json"
BATCHES, TRIPLES, STEPS, WIDTH = 160, 512, 2000, 16


def drawn(generator: Any, graph, book) -> tuple[dict[str, Tensor], float]:
    """What is seen of draws that count, and the seconds that rules took for each batch."""
    training = graph.training
    sizes = training.num_entities, training.num_relations
    withheld = TripleIndex(torch.cat([graph.valid, graph.test]), *sizes)
    rng = torch.Generator().manual_seed(0)
    found: dict[str, list[Tensor]] = {}
    seconds = 0.0
    for _ in range(BATCHES):
        rows = torch.randint(len(training.triples), (TRIPLES,), generator=rng)
        queries = tail_and_head_queries(training.triples[rows], training.num_relations)
        offer = generator.sample(queries, lambda ids: ids, rng)
        start = time.process_time()
        belief = book(queries, offer.ids)
        seconds += time.process_time() - start
        seen = {
            "features": generator.features.features,
            "belief": (belief + 1e-4).log().unsqueeze(2) / 4,
            "held": generator.features.held_out,
            "online": generator.classifier(generator.features),
            "withheld": withheld.contains(queries, offer.ids),
        }
        for name, value in seen.items():
            found.setdefault(name, []).append(value[offer.mask].detach())
    return {name: torch.cat(parts) for name, parts in found.items()}, seconds / BATCHES


def fitted(inputs: Tensor, held: Tensor, share: float) -> nn.Module:
    """A network that has learned which candidates are true from seeing which are held out."""
    torch.manual_seed(0)
    network = classifier_network(inputs.shape[1], WIDTH)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    rng = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        some = torch.randint(len(inputs), (4096,), generator=rng)
        estimate = network(inputs[some]).squeeze(1).sigmoid()
        optimizer.zero_grad()
        pu_cross_entropy(estimate, held[some], share).mean().backward()
        optimizer.step()
    return network


def judged(estimate: Tensor, held: Tensor, withheld: Tensor, share: float) -> dict[str, float]:
    """How well an estimate knows what is held out, and what is withheld."""
    order = estimate.argsort(descending=True)
    hit = withheld[order].double()
    upto = hit.cumsum(0)
    precision = upto / torch.arange(1, len(hit) + 1)
    below = (1 - hit).sum() - (1 - hit).cumsum(0)
    bins = torch.bucketize(estimate, torch.tensor([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5]))
    gaps = [
        (bins == one).sum() * (estimate[bins == one].mean() - withheld[bins == one].double().mean())
        for one in bins.unique()
    ]
    return {
        "cross_entropy_of_held": pu_cross_entropy(estimate, held, share).mean().item(),
        "average_precision_of_withheld": ((precision * hit).sum() / hit.sum()).item(),
        "area_under_roc_of_withheld": ((below * hit).sum() / hit.sum() / (1 - hit).sum()).item(),
        "calibration_error_of_withheld": (torch.stack(gaps).abs().sum() / len(hit)).item(),
        "found_in_first_percent": (hit[: len(hit) // 100].sum() / hit.sum()).item(),
    }


@torch.no_grad()
def estimates(network: nn.Module, inputs: Tensor) -> Tensor:
    return network(inputs).squeeze(1).sigmoid()


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    config, graph, step = trained("fb15k-237", Path(sys.argv[1]))
    training = graph.training
    book = RulePredictor(training, mine_rules(training), aggregation="noisy-or")
    generator: Any = step.sampler
    seen, seconds = drawn(generator, graph, book)
    share = generator.classifier.label_frequency
    plain, rules = seen["features"], torch.cat([seen["features"], seen["belief"]], 1)
    half = len(plain) // 2
    first, second = slice(None, half), slice(half, None)
    held, withheld = seen["held"], seen["withheld"]
    offered = {
        "generator": seen["online"],
        "refitted": estimates(fitted(plain[first], held[first], share), plain),
        "refitted with rules": estimates(fitted(rules[first], held[first], share), rules),
        "rules alone": seen["belief"].squeeze(1).mul(4).exp(),
    }
    report = {
        "candidates": len(plain) - half,
        "held": held[second].double().mean().item(),
        "withheld": withheld[second].double().mean().item(),
        "seconds_of_rules_per_1024_queries": round(seconds, 3),
        "estimates": {
            name: judged(one[second], held[second], withheld[second], share)
            for name, one in offered.items()
        },
        **provenance(),
        "config": config.as_dict(),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: report[name] for name in list(report)[:5]}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
