"""The checkpoint of a sharded run as the state of a training step in one process."""

from pathlib import Path
from typing import Any

from torch import Tensor

from sparring.distributed import checkpoint
from sparring.generators.multi_index import InvertedMultiIndex

INDEX = "sampler.index."


def exists(folder: Path) -> bool:
    """Whether a folder holds checkpoints of a sharded run."""
    return checkpoint.exists(folder, "last") or checkpoint.exists(folder, "best")


def load_best(folder: Path) -> dict[str, Any]:
    """The best epoch's checkpoint, or the last one without validation, with whole tables.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    name = checkpoint.best_name(folder)
    state = checkpoint.load_whole(folder, name, leave_out=checkpoint.FOR_TRAINING)
    return {**state, "step": whole_step(state["step"])}


def whole_step(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a `TrainingStep` under the names that it has in one process."""
    found: dict[str, Any] = {}
    for name, value in state.items():
        if name.startswith(INDEX):
            continue
        for wrapped in ("sampler.", "loss."):  # by `PerWorkerSampler` and `ShareOfLoss`
            name = name.replace(f"{wrapped}inner.", wrapped)
        found[name.replace(".rows.weight", ".weight")] = value
    if f"{INDEX}cell" in state:
        index = whole_index({name.removeprefix(INDEX): value for name, value in state.items()})
        found |= {f"{INDEX}{name}": value for name, value in index.state_dict().items()}
    return found


def whole_index(state: dict[str, Any]) -> InvertedMultiIndex:
    """The cells of a sharded index in one process; the next sweep over entities starts anew."""
    codebook, cell = state["codebook_1"], state["cell"]
    codes = len(codebook)
    if codes == len(cell):  # there are no more codes than entities, and half as many of the others
        codes = max(codes, 2 * len(state["codebook_2"]))
    index = InvertedMultiIndex(
        len(cell), dim=2 * codebook.shape[1], codes=codes, assign_per_update=1
    )
    for name in ("codebook_1", "codebook_2", "cell", "next_cell", "weight", "next_bias"):
        value: Tensor = state[name]
        getattr(index, name).copy_(value)
    index.sort_cells()
    return index
