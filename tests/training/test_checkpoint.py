"""Any state comes back as it was saved, and damaged files are refused."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.evaluation.ranking import evaluate
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run
from sparring.training import CheckpointError, checkpoint
from sparring.training.conversion import FormerNames, convert_modules

numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
)
KINDS = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    seed = draw(st.integers(0, 99))
    values = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed))
    tensor = values.to(draw(st.sampled_from(KINDS)))
    return tensor.mT if tensor.dim() > 1 and draw(st.booleans()) else tensor


states = st.recursive(
    numbers | tensors(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3),
    ),
    max_leaves=8,
)


def alike(one, two):
    """Equal in kind, order and every number."""
    if isinstance(one, torch.Tensor):
        same = isinstance(two, torch.Tensor) and one.dtype == two.dtype
        return same and one.shape == two.shape and torch.equal(one, two)
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(alike(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(alike, one, two))
    return one == two


@given(state=states)
def test_any_state_comes_back(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("state")
    checkpoint.save(folder, "last", state)
    assert alike(checkpoint.load(folder, "last"), state)


def test_tensors_that_share_memory_come_back(tmp_path):
    table = torch.arange(12.0).view(4, 3)
    state = {"whole": table, "again": table, "part": table[1:3], "turned": table.T}
    checkpoint.save(tmp_path, "last", state)
    assert alike(checkpoint.load(tmp_path, "last"), state)


def test_what_was_read_stays_when_the_file_is_replaced(tmp_path):
    checkpoint.save(tmp_path, "last", {"weight": torch.zeros(1000)})
    former = checkpoint.load(tmp_path, "last")
    former["weight"] += 1
    checkpoint.save(tmp_path, "last", {"weight": torch.zeros(1000)})
    assert former["weight"].eq(1).all()
    assert checkpoint.load(tmp_path, "last")["weight"].eq(0).all()


STATE = {"weight": torch.arange(6.0).view(2, 3), "step": 7, "rates": (0.1, None), 3: ["é", True]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    checkpoint.save(folder, "last", STATE)
    return folder


@pytest.fixture(params=["json", "safetensors"])
def file(saved, request):
    """A file of the checkpoint, put back after the test."""
    (path,) = saved.glob(f"last*.{request.param}")
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_a_file_cut_anywhere_is_refused(saved, file):
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"is damaged|was altered; delete it"):
            checkpoint.load(saved, "last")


def test_a_flipped_bit_never_gives_another_state(saved, file):
    """Upper and lower case of an exponent or escape mean the same: that, too, is no harm."""
    content = file.read_bytes()
    refused = 0
    for place in range(len(content)):
        for bit in (1, 32):
            altered = bytearray(content)
            altered[place] ^= bit
            file.write_bytes(altered)
            try:
                assert alike(checkpoint.load(saved, "last"), STATE)
            except CheckpointError:
                refused += 1
    assert refused > 1.9 * len(content)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*last\.json"):
        checkpoint.load(tmp_path, "last")


def test_a_missing_tensor_file_is_named(tmp_path):
    checkpoint.save(tmp_path, "last", STATE)
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.unlink()
    with pytest.raises(CheckpointError, match=f"refers to {tensors.name}, which is missing"):
        checkpoint.load(tmp_path, "last")


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    checkpoint.save(tmp_path, "last", STATE)
    path = tmp_path / "last.json"
    body = json.loads(path.read_text()) | {"format": 99}
    del body["digest"]
    body["digest"] = checkpoint.json_digest(body)
    path.write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match="has format 99, but this version of sparring reads"):
        checkpoint.load(tmp_path, "last")


@pytest.mark.parametrize("state", [{"a": object()}, [{1, 2}], {"a": {"b": 1j}}, {(1, 2): 3}])
def test_what_cannot_be_kept_is_refused_before_anything_is_written(tmp_path, state):
    with pytest.raises(TypeError, match="a checkpoint cannot hold a"):
        checkpoint.save(tmp_path, "last", state)
    assert not list(tmp_path.iterdir())


def test_a_new_checkpoint_replaces_the_old_one_completely(tmp_path):
    checkpoint.save(tmp_path, "last", STATE)
    checkpoint.save(tmp_path, "last", {"weight": torch.ones(2)})
    assert len(list(tmp_path.iterdir())) == 2
    assert alike(checkpoint.load(tmp_path, "last"), {"weight": torch.ones(2)})


def test_saving_one_name_leaves_another_alone(tmp_path):
    checkpoint.save(tmp_path, "best", STATE)
    checkpoint.save(tmp_path, "last", {"weight": torch.ones(2)})
    assert alike(checkpoint.load(tmp_path, "best"), STATE)


@pytest.mark.parametrize("moment", ["replace", "fsync"])
def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch, moment):
    checkpoint.save(tmp_path, "last", STATE)

    def crash(*_):
        raise OSError("the disk is full")

    where = {"replace": "pathlib.Path.replace", "fsync": "os.fsync"}[moment]
    monkeypatch.setattr(where, crash)
    with pytest.raises(OSError, match="the disk is full"):
        checkpoint.save(tmp_path, "last", {"weight": torch.ones(2)})
    assert alike(checkpoint.load(tmp_path, "last"), STATE)
    assert not list(tmp_path.glob("*.draft"))


def test_a_crash_between_the_two_files_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, "last", STATE)
    write = checkpoint.write_atomically

    def crash_at_the_second(path, content):
        if path.suffix == ".json":
            raise OSError("the power is out")
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", crash_at_the_second)
    with pytest.raises(OSError, match="the power is out"):
        checkpoint.save(tmp_path, "last", {"weight": torch.ones(2)})
    assert alike(checkpoint.load(tmp_path, "last"), STATE)


def test_sizes_come_back_as_tuples(tmp_path):
    checkpoint.save(tmp_path, "last", {"shape": torch.Size([2, 3])})
    assert checkpoint.load(tmp_path, "last") == {"shape": (2, 3)}


def test_tensors_that_share_memory_come_back_apart(tmp_path):
    table = torch.arange(6.0)
    checkpoint.save(tmp_path, "last", {"all": table, "part": table[2:4]})
    state = checkpoint.load(tmp_path, "last")
    state["part"].zero_()
    assert torch.equal(state["all"], torch.arange(6.0))


def test_a_later_format_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.save(tmp_path, "last", STATE)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"has format 99.*install the version that wrote it"):
        checkpoint.load(tmp_path, "last")


def test_modules_are_found_by_an_entry_that_only_their_class_had():
    state = {"a.x": 1, "a.old.w": 2, "a.old.b": 3, "old.w": 4, "a.b.x": 5, "a.b.older": 6}
    current = convert_modules(state, [FormerNames("x", {"old": "new"})])
    assert current == {"a.x": 1, "a.new.w": 2, "a.new.b": 3, "old.w": 4, "a.b.x": 5, "a.b.older": 6}
    assert list(current.values()) == [1, 2, 3, 4, 5, 6]


def test_extra_state_is_converted_at_any_depth():
    state = {"x": 0, "_extra_state": {"old": {"old": 1, "kept": 2}}, "a._extra_state": {"old": 3}}
    current = convert_modules(state, [FormerNames("x", extra={"old": "new"})])
    assert current["_extra_state"] == {"new": {"new": 1, "kept": 2}}
    assert current["a._extra_state"] == {"old": 3}


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """A run of format 1, stopped in its fourth epoch, and the result of the same run unbroken."""
    folder = tmp_path / "format_1"
    shutil.copytree(Path(__file__).parent / "data" / "format_1", folder)
    monkeypatch.chdir(folder)
    return Run(Path("stopped")), json.loads(Path("result.json").read_text())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_checkpoint_of_format_1_evaluates_to_the_same_metrics(old_run):
    place, expected = old_run
    graph = load_graph(place.config().graph)
    found = evaluate(place.load_step(place.config(), graph).model, graph.valid, graph.known)
    assert found.mrr() == pytest.approx(expected["valid_mrr"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_of_format_1_resumes_as_if_it_was_never_stopped(old_run):
    place, expected = old_run
    result = run(place.config(), place.folder, resume=True)
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    log, whole = place.log(), list(map(json.loads, Path("whole.jsonl").read_text().splitlines()))
    for name in ("loss", "mrr"):
        assert [row[name] for row in log if name in row] == pytest.approx(
            [row[name] for row in whole if name in row], rel=1e-5
        )


def without(body, key):
    body.pop(key)


CRAFTED = {
    "unknown kind": lambda body: body.update(state={"evil": []}),
    "two kinds": lambda body: body.update(state={"a": 1, "b": 2}),
    "no state": lambda body: without(body, "state"),
    "no format": lambda body: without(body, "format"),
    "format of words": lambda body: body.update(format="two"),
    "tensors without a name": lambda body: body.update(tensors=3),
    "tensors outside": lambda body: body.update(tensors="../../../../etc/hostname"),
    "tensors in a folder": lambda body: body.update(tensors="."),
    "pairs that are none": lambda body: body.update(state={"dict": [1, 2]}),
    "keys that are none": lambda body: body.update(state={"dict": [[[], 1]]}),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_checkpoint_is_refused_in_one_line(tmp_path, name):
    """With the right digest: whoever writes to a folder can make one."""
    checkpoint.save(tmp_path, "last", {"step": torch.ones(2)})
    path = tmp_path / "last.json"
    body = json.loads(path.read_text())
    del body["digest"]
    CRAFTED[name](body)
    body["digest"] = checkpoint.json_digest(body)
    path.write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(path))} [^\n]*$"):
        checkpoint.load(tmp_path, "last")


@pytest.mark.parametrize("content", [b"", (2**60).to_bytes(8, "little") + b"{}", b"\0" * 100])
def test_a_crafted_tensor_file_is_refused_in_one_line(tmp_path, content):
    checkpoint.save(tmp_path, "last", {"step": torch.ones(2)})
    path = tmp_path / "last.json"
    body = json.loads(path.read_text())
    del body["digest"]
    (tmp_path / body["tensors"]).write_bytes(content)
    body["sha256"] = hashlib.sha256(content).hexdigest()
    body["digest"] = checkpoint.json_digest(body)
    path.write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match=r"holds no tensors [^\n]*$"):
        checkpoint.load(tmp_path, "last")
