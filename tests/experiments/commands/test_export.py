import numpy as np
import pytest


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("bess-kge", {"triples", "negative_heads", "negative_tails"}),
        ("dgl-ke", {"neg_sample_size", "head", "tail"}),
        ("dicee", {"train_set", "labels"}),
    ],
)
def test_a_run_exports_negatives(command, finished, tmp_path, form, names):
    result = command("export", finished.folder, "--to", form, "--folder", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("negatives.npz: 52 triples, 4 negatives\n")
    with np.load(tmp_path / "out" / "negatives.npz") as found:
        assert set(found) == names
    assert (tmp_path / "out" / "relations.tsv").read_text().count("\n") == 3


def test_a_file_exports_the_sampler_before_training(command, write, tables, tmp_path):
    result = command("export", write(tables), "--to", "dicee", "--folder", tmp_path / "out")
    assert result.exit_code == 0 and (tmp_path / "out" / "negatives.npz").exists()


def test_a_query_that_everything_answers_is_told(command, write, tables, tmp_path):
    graph = tmp_path / "full"
    graph.mkdir()
    rows = [f"a\tr\t{tail}\n" for tail in "abc"]
    for split in ("train", "valid", "test"):
        (graph / f"{split}.tsv").write_text("".join(rows if split == "train" else rows[:1]))
    spec = {"name": "uniform-filtered", "k": 2}
    path = write({**tables, "graph": {"path": str(graph)}, "sampler": spec})
    result = command("export", path, "--to", "bess-kge", "--folder", tmp_path / "out")
    assert "3 queries have no negative" in result.stdout


def test_another_layout_is_misuse(command, finished, tmp_path):
    result = command("export", finished.folder, "--to", "openke", "--folder", tmp_path)
    assert result.exit_code == 2
