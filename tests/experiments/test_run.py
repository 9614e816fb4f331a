import dataclasses
import json
import shutil

import pytest
import torch

from sparring.data.vocabulary import Vocabulary
from sparring.experiments.assembly import assemble
from sparring.experiments.config import check_config
from sparring.experiments.graphs import GraphSource, load_graph
from sparring.experiments.run import RECORDED, as_record, evaluate_split, prepare, run
from sparring.experiments.run_folder import Run, RunError
from sparring.files import DamagedFileError, FolderInUseError, locked, read_object
from sparring.registry import ConfigError
from sparring.training import CheckpointError, DivergedError, checkpoint


class StopAt:
    """Asks to stop once so many steps are done."""

    def __init__(self, trainer, step):
        self.trainer, self.step = trainer, step

    def __call__(self, record):
        if record.step >= self.step:
            self.trainer.stop()

    def close(self):
        pass


def stopped_at(step):
    return lambda trainer: [StopAt(trainer, step)]


def changed(tables, **parts):
    return check_config({**tables, **parts})


def test_a_run_reports_what_it_trained_and_how_well(config, tmp_path):
    result = run(config, tmp_path / "run")
    reported = {
        name: result[name] for name in ("dataset", "model", "dim", "sampler", "k", "epochs")
    }
    assert reported == {
        "dataset": "circle",
        "model": "distmult",
        "dim": 8,
        "sampler": "uniform",
        "k": 4,
        "epochs": 6,
    }
    assert 0 < result["hits@1"] <= result["mrr"] <= 1 or result["hits@1"] == 0 < result["mrr"]


def test_the_result_is_kept_in_the_folder(config, tmp_path):
    assert run(config, tmp_path / "run") == Run(tmp_path / "run").result()


def test_the_configuration_is_kept_in_the_folder(config, finished):
    assert finished.config() == config


def test_a_kept_configuration_can_be_changed(finished):
    assert finished.config(["device=meta"]).general.device == "meta"


def test_a_configuration_kept_under_former_names_is_read_and_changed_under_todays(config, finished):
    path = finished.folder / "config.json"
    kept = json.loads(path.read_text())
    kept["sides"], kept["train"]["batch"] = kept.pop("corruption"), kept["train"].pop("batch_size")
    path.write_text(json.dumps(kept))
    assert finished.config() == config
    assert finished.config(["train.batch_size=8"]).train.batch_size == 8


def test_the_ranks_are_kept_in_the_folder(finished):
    assert finished.ranks().mrr() == finished.result()["mrr"]


def test_the_log_is_kept_in_the_folder(finished):
    assert [row["epoch"] for row in finished.log() if row["kind"] == "validation"] == [2, 4, 6]


def test_the_result_in_parts_is_kept_in_the_folder(finished):
    overall = next(row for row in finished.breakdown().rows if row.group == "overall")
    assert overall.mrr == pytest.approx(finished.result()["mrr"])


def test_the_best_epoch_is_judged(finished):
    best = max(
        (row for row in finished.log() if row["kind"] == "validation"), key=lambda r: r["mrr"]
    )
    assert finished.result()["best_epoch"] == best["epoch"]


def test_the_same_seed_gives_the_same_ranks(config, finished, tmp_path):
    assert run(config, tmp_path / "again")["mrr"] == finished.result()["mrr"]


def test_another_seed_gives_other_parameters(tables, config, graph):
    one, other = (assemble(changed(tables, seed=s), graph)[0].model.entity.weight for s in (1, 2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("step", [2, 4, 9])
def test_a_resumed_run_is_bit_for_bit_the_unbroken_one(config, finished, tmp_path, step):
    folder = tmp_path / "broken"
    assert run(config, folder, callbacks=stopped_at(step)) is None
    result = run(config, folder, resume=True)
    assert result["mrr"] == finished.result()["mrr"]
    one, other = (checkpoint.load(at, "last") for at in (folder, finished.folder))
    for name, tensor in one["step"].items():
        assert torch.equal(tensor, other["step"][name]), name


def test_a_resumed_log_is_that_of_the_unbroken_run(config, finished, tmp_path):
    folder = tmp_path / "broken"
    run(config, folder, callbacks=stopped_at(5))
    run(config, folder, resume=True)
    kept = [{**row, "cpu_seconds": 0} for row in Run(folder).log() if row["kind"] != "end"]
    assert kept == [{**row, "cpu_seconds": 0} for row in finished.log() if row["kind"] != "end"]


def test_a_stopped_run_has_no_result(config, tmp_path):
    run(config, tmp_path / "run", callbacks=stopped_at(3))
    with pytest.raises(RunError, match=r"has no result\.json: the run is not finished"):
        Run(tmp_path / "run").result()


def test_resuming_nothing_starts(config, finished, tmp_path):
    assert run(config, tmp_path / "new", resume=True)["mrr"] == finished.result()["mrr"]


def test_resuming_a_finished_run_changes_nothing(config, finished):
    before = finished.result()
    after = run(config, finished.folder, resume=True)
    assert after["mrr"] == before["mrr"] and after["epochs"] == before["epochs"]


def test_a_run_is_not_overwritten(config, finished):
    with pytest.raises(RunError, match="holds a run already; add --resume to continue it"):
        run(config, finished.folder)


def test_a_run_is_not_resumed_with_another_configuration(tables, finished):
    config = changed(tables, model={"name": "distmult", "dim": 4})
    with pytest.raises(RunError, match="started with another configuration: model differ"):
        run(config, finished.folder, resume=True)


def test_a_run_is_not_resumed_on_another_graph(config, finished, other_graph):
    with pytest.raises(RunError, match=r"trained on another graph: content_hash .*train 52 -> 53"):
        run(config, finished.folder, resume=True, graph=other_graph)


def test_a_folder_without_a_run_is_told_apart(tmp_path):
    with pytest.raises(RunError, match="is not the folder of a run: it has no config"):
        Run(tmp_path).config()


def test_a_configuration_that_cannot_be_built_leaves_no_folder(tables, tmp_path):
    config = changed(tables, sampler={"name": "uniform", "k": 0})
    with pytest.raises(ConfigError, match=r"\[sampler\] a sampler must offer at least one"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_and_a_sampler_that_do_not_go_together_are_refused(tables, graph):
    config = changed(
        tables,
        sampler={"name": "kvs-all"},
        loss={"name": "sampled-softmax", "correction": "negatives"},
    )
    with pytest.raises(ConfigError, match=r"\[loss\] SampledSoftmax corrects for the density"):
        assemble(config, graph)


def test_an_unknown_device_is_refused(tables, graph):
    config = changed(tables, device="abacus")
    with pytest.raises(ConfigError, match=r"\[device\] cannot use 'abacus': .*try \"cpu\""):
        assemble(config, graph)


def test_threads_are_set_as_asked(tables, tmp_path):
    before = torch.get_num_threads()
    try:
        assert run(changed(tables, threads=before + 1), tmp_path / "run")["threads"] == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_diverging_run_fails_with_the_remedy(tables, tmp_path):
    config = changed(tables, optimizer={"name": "adam", "lr": 1e30})
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        run(config, tmp_path / "run")


def test_a_trained_model_is_that_of_the_best_epoch(config, finished, graph):
    best = checkpoint.load(finished.folder, "best")["step"]["model.entity.weight"]
    assert torch.equal(finished.load_step(config, graph).model.entity.weight, best)


def test_without_validation_the_last_epoch_counts(tables, tmp_path, graph):
    config = changed(tables, train={**tables["train"], "validate_every": 0})
    run(config, tmp_path / "run", graph=graph)
    last = checkpoint.load(tmp_path / "run", "last")["step"]["model.entity.weight"]
    assert torch.equal(Run(tmp_path / "run").load_step(config, graph).model.entity.weight, last)


def test_a_run_that_was_never_saved_has_no_trained_model(config, finished, graph):
    for name in ("best.json", "last.json"):
        (finished.folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*last\.json"):
        finished.load_step(config, graph)


def test_a_trained_model_is_not_used_on_another_graph(config, finished, other_graph):
    with pytest.raises(RunError, match="restore the old files, or train again"):
        finished.load_step(config, other_graph)


def test_a_record_begins_with_what_is_quoted(finished):
    record = as_record(finished.result(), "experiments/small.toml", ["seed=3"])
    assert list(record)[: len(RECORDED) + 3] == [*RECORDED, "config", "commit", "overrides"]


def test_a_record_holds_all_of_the_result(finished):
    record = as_record(finished.result(), "experiments/small.toml", ["seed=3"])
    assert record | {"config": 0, "overrides": 0} == finished.result() | {
        "config": 0,
        "overrides": 0,
    }


def test_a_prepared_training_has_no_graph_beyond_the_training_view(config, tmp_path, graph):
    trainer = prepare(config, graph, tmp_path)
    assert torch.equal(trainer.triples, graph.train)


def test_the_graph_is_described_in_the_folder(finished):
    kept = json.loads((finished.folder / "graph.json").read_text())
    assert (kept["name"], kept["entities"], kept["train"]) == ("circle", 24, 52)


def test_adam_takes_sparse_gradients_and_ends_where_dense_ones_lead(tables, tmp_path):
    ranks = []
    for sparse in (False, True):
        config = changed(tables, model={"name": "distmult", "dim": 8, "sparse": sparse})
        run(config, tmp_path / str(sparse))
        ranks.append(Run(tmp_path / str(sparse)).ranks().rank)
    assert torch.equal(*ranks)


def test_rules_need_no_epoch(tables, tmp_path):
    """Each relation goes round the circle, so rules of two steps say much."""
    rules = changed(tables, model={"name": "rules"}, train={"epochs": 0, "batch_size": 16})
    result = run(rules, tmp_path / "run")
    assert (result["model"], result["dim"], result["epochs"]) == ("rules", None, 0)
    assert result["mrr"] == Run(tmp_path / "run").ranks().mrr()


@pytest.fixture
def on_gpu(tables, monkeypatch):
    """The small experiment with the generator, on a GPU, where sums are taken in one order."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield changed(tables, device="cuda", sampler={"name": "generator", "k": 4})
    torch.use_deterministic_algorithms(False)


def test_a_run_resumed_on_a_gpu_is_bit_for_bit_the_unbroken_one(on_gpu, tmp_path):
    run(on_gpu, tmp_path / "whole")
    assert run(on_gpu, tmp_path / "broken", callbacks=stopped_at(5)) is None
    run(on_gpu, tmp_path / "broken", resume=True)
    one, other = (checkpoint.load(tmp_path / name, "last")["step"] for name in ("whole", "broken"))
    for name in filter(lambda name: isinstance(one[name], torch.Tensor), one):
        assert torch.equal(one[name], other[name]), name


def test_what_a_gpu_trained_is_ranked_alike_on_the_processor(on_gpu, graph, tmp_path):
    result = run(on_gpu, tmp_path / "run")
    made = Run(tmp_path / "run")
    config = made.config(["device=cpu"])
    again = evaluate_split(made.load_step(config, graph).model, graph, config)
    assert again.mrr() == pytest.approx(result["mrr"], abs=1e-3)


def test_a_run_keeps_its_graph(tables, circle, tmp_path):
    source = shutil.copytree(circle, tmp_path / "circle")
    tables["graph"] = {"path": str(source)}
    run(check_config(tables), tmp_path / "run")
    before = load_graph(GraphSource(path=str(circle)))
    shutil.rmtree(source)
    after = Run(tmp_path / "run").graph()
    assert after.content_hash == before.content_hash
    assert after.entities.labels.equals(before.entities.labels)


def test_a_run_without_a_graph_reads_its_source(finished):
    shutil.rmtree(finished.folder / "graph")
    before = json.loads((finished.folder / "graph.json").read_text())
    assert finished.graph().content_hash == before["content_hash"]


def test_test_triples_change_no_number_of_training(tables, circle, tmp_path):
    """Neither losses nor validation nor weights nor the best epoch, to the last bit."""
    source = shutil.copytree(circle, tmp_path / "circle")
    rows = [line.split("\t") for line in (circle / "valid.tsv").read_text().splitlines()]
    known = {line for path in circle.glob("t*.tsv") for line in path.read_text().splitlines()}
    # all other answers of the queries of validation, which would all have rank 1 without them
    others = {f"{h}\t{r}\te{i}" for h, r, t in rows for i in range(24) if f"e{i}" != t}
    (source / "test.tsv").write_text("\n".join(sorted(others - known)) + "\n")
    tables["train"]["validate_every"] = 1
    trained = []
    for name, path in (("one", circle), ("other", source)):
        tables["graph"] = {"path": str(path)}
        config = check_config(tables)
        result = run(config, tmp_path / name)
        log = [{**row, "cpu_seconds": 0} for row in Run(tmp_path / name).log()]
        states = [checkpoint.load(tmp_path / name, kind)["step"] for kind in ("best", "last")]
        trained.append((log, states, result["best_epoch"], result["valid_mrr"], result["mrr"]))
    (log, states, *best, mrr), (other_log, other_states, *other_best, other_mrr) = trained
    assert log == other_log and best == other_best
    assert all(
        torch.equal(a[key], b[key])
        for a, b in zip(states, other_states)
        for key in a
        if isinstance(a[key], torch.Tensor)
    )
    assert mrr != other_mrr


def test_a_result_says_which_facts_were_filtered(tables, finished, tmp_path):
    result = finished.result()
    assert (result["validation_filter"], result["filter"]) == (
        "train + valid",
        "train + valid + test",
    )
    tables["evaluate"]["split"] = "valid"
    result = run(check_config(tables), tmp_path / "run")
    assert result["filter"] == "train + valid"
    assert result["mrr"] == result["valid_mrr"]


def test_a_run_folder_in_use_is_refused(config, tmp_path):
    with locked(tmp_path / "run"), pytest.raises(FolderInUseError, match=r"in use by process \d+"):
        run(config, tmp_path / "run")


def test_drafts_of_a_killed_run_are_removed_when_it_is_resumed(config, finished):
    draft = finished.folder / "graph" / ".index.json.77.draft"
    draft.write_text("half")
    run(config, finished.folder, resume=True)
    assert not draft.exists()


def test_the_folder_of_a_run_holds_no_lock(finished):
    assert not [path for path in finished.folder.rglob(".*")]


def test_a_graph_under_an_earlier_hash_is_recognized(finished, config, graph):
    path = finished.folder / "graph.json"
    kept = read_object(path)
    kept |= {"content_hash": graph.hash(1), "training_hash": graph.training.hash(1)}
    del kept["hash_version"]
    path.write_text(json.dumps(kept))
    finished.load_step(config, graph)
    relabeled = dataclasses.replace(
        graph, entities=Vocabulary(graph.entities.names, graph.entities.names)
    )
    finished.load_step(config, relabeled)


def test_a_run_is_not_evaluated_with_other_labels(finished, config, graph):
    other = dataclasses.replace(
        graph, entities=Vocabulary(graph.entities.names, graph.entities.names)
    )
    with pytest.raises(RunError, match="trained on another graph"):
        finished.load_step(config, other)


def test_resuming_under_other_versions_warns(config, tmp_path, monkeypatch):
    monkeypatch.setattr("sparring.experiments.run.versions", lambda: {"torch": "1.0"})
    run(config, tmp_path / "run", callbacks=stopped_at(5))
    monkeypatch.undo()
    with pytest.warns(
        UserWarning, match=r"other versions: torch 1\.0 -> .*; the result may differ"
    ):
        run(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("breakdown.json", "{}"),
        ("breakdown.json", '{"rows": 3}'),
        ("log.jsonl", "1\n"),
        ("log.jsonl", "{}\n"),
        ("log.jsonl", "[" * 100_000),
        ("result.json", "[]"),
    ],
)
def test_a_foreign_file_in_the_folder_is_named_in_one_line(finished, name, content):
    (finished.folder / name).write_text(content)
    read = getattr(finished, name.partition(".")[0])
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged: [^\n]*$"):
        read()
