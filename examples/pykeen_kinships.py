"""PyKEEN's pipeline with uniform negatives, and with a generator that learns from it."""

from pykeen.pipeline import pipeline

from sparring.generators import SparringGenerator
from sparring.hosts.bridge import Bridge
from sparring.hosts.pykeen import SparringLoop
from sparring.losses import Softmax
from sparring.samplers import UniformUnknown

few, many = (lambda graph, k=k: UniformUnknown(graph, k=k) for k in (8, 72))
learned = lambda graph: SparringGenerator(graph, k=8)  # asks for 64 more scores, to learn from
for name, make in {"8 uniform": few, "72 uniform": many, "8 learned": learned}.items():
    result = pipeline(
        dataset="kinships",
        model="ComplEx",
        model_kwargs={"embedding_dim": 64},
        optimizer_kwargs={"lr": 0.01},
        training_loop=SparringLoop,
        training_loop_kwargs={"bridge": Bridge(make, loss=Softmax(correction="both"))},
        training_kwargs={"num_epochs": 20, "batch_size": 512, "use_tqdm": False},
        random_seed=0,
    )
    print(f"{name}: MRR {result.get_metric('both.realistic.inverse_harmonic_mean_rank'):.3f}")
