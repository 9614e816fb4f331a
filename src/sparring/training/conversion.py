"""Checkpoints of format 1 under current names: the one table of names that have changed since."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FormerNames:
    """What the state of one class was called in checkpoints of format 1.

    Attributes:
        marker: pattern of an entry that only this class had; it finds the modules of the class.
        renamed: former names of parameters, buffers and submodules, and their current names.
        extra: former keys, at any depth, in the result of `get_extra_state`, and current ones.
    """

    marker: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)


# outer classes first: their submodules are found under current names
MODULES = {
    "NBFNet": FormerNames("judge.0.weight", {"judge": "readout"}),
    "RelationalConvolution": FormerNames("share", {"share": "coefficient", "itself": "self_loop"}),
    "CompositionConvolution": FormerNames(
        "along.weight",
        {
            "along": "w_original",
            "against": "w_inverse",
            "itself": "w_self_loop",
            "relation": "w_relation",
            "loop": "self_loop_relation",
        },
    ),
    "TuckER": FormerNames("before.weight", {"before": "input_norm", "after": "query_norm"}),
    "ConvEDecoder": FormerNames(
        "back.weight",
        {
            "image": "input_layers",
            "features": "conv_layers",
            "back": "linear",
            "after": "output_layers",
        },
    ),
    "RuleModel": FormerNames("log_sharpness", {"log_sharpness": "log_inverse_temperature"}),
    "EANS": FormerNames("place", {"place": "position"}),
    "FalseNegativeWeighting": FormerNames(r"doubt\..+", {"doubt": "estimator"}),
    "NSGenerator": FormerNames(
        "sharpness",
        {
            "proposal": "student",
            "codes": "index",
            "missing": "classifier",
            "sharpness": "inverse_temperature",
            "lesson": "last_loss",
        },
    ),
    "InvertedMultiIndex": FormerNames(
        "near",
        {
            "near": "codebook_1",
            "far": "codebook_2",
            "sum_near": "sum_1",
            "sum_far": "sum_2",
            "upto": "cumulative",
        },
        {"place": "position"},
    ),
    "MIDX": FormerNames(
        "_extra_state",
        extra={
            "drawn": "steps",
            "index": "cells",
            "codes 0": "codebook_1",
            "codes 1": "codebook_2",
            "centre": "center",
            "start": "first",
        },
    ),
}
CHECKPOINT = {"batch": "batch_size"}


def convert(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a checkpoint of format 1 under current names, in the same order."""
    current = {CHECKPOINT.get(name, name): value for name, value in state.items()}
    return current | {"step": convert_modules(current["step"])} if "step" in current else current


def convert_modules(
    state: Mapping[str, Any], modules: Iterable[FormerNames] = tuple(MODULES.values())
) -> dict[str, Any]:
    """The `state_dict` of a module, as a checkpoint of format 1 holds it, under current names."""
    current = dict(state)
    for former in modules:
        current = _convert(current, former)
    return current


def _convert(state: Mapping[str, Any], former: FormerNames) -> dict[str, Any]:
    marker = re.compile(rf"(|.*\.){former.marker}")
    prefixes = {found[1] for key in state if (found := marker.fullmatch(key))}
    current = dict(state)
    for prefix in prefixes:
        current = {
            _current_key(key, prefix, former.renamed): (
                _convert_extra(value, former.extra) if key == f"{prefix}_extra_state" else value
            )
            for key, value in current.items()
        }
    return current


def _current_key(key: str, prefix: str, renamed: Mapping[str, str]) -> str:
    if not key.startswith(prefix):
        return key
    name, dot, rest = key.removeprefix(prefix).partition(".")
    return prefix + renamed.get(name, name) + dot + rest


def _convert_extra(value: Any, renamed: Mapping[str, str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {renamed.get(key, key): _convert_extra(item, renamed) for key, item in value.items()}
