"""Samplers that go by the model of a finished run."""

import shutil

import pytest
import torch

from sparring.experiments.config import check_config
from sparring.experiments.run import run
from sparring.registry import ConfigError, build
from sparring.samplers import SAMPLERS, NearestNeighbor, TeacherNegatives
from sparring.training import checkpoint


def near_miss(folder):
    return {"name": "teacher-negatives", "k": 3, "teacher": {"name": "run", "folder": str(folder)}}


def made(spec, graph):
    return build(spec, SAMPLERS, "sampler", graph=graph.training)


def test_the_teacher_is_the_best_model_of_the_run(finished, graph):
    teacher = finished.load_step(finished.config(), graph).model
    sampler = made(near_miss(finished.folder), graph)
    assert torch.equal(
        sampler.entity, TeacherNegatives(graph.training, k=3, teacher=teacher).entity
    )


def test_vectors_are_those_of_the_run(finished, graph):
    teacher = finished.load_step(finished.config(), graph).model
    helper = {"name": "run", "folder": str(finished.folder)}
    sampler = made({"name": "nearest-neighbor", "k": 3, "vectors": helper}, graph)
    assert torch.equal(sampler.entity, NearestNeighbor(graph.training, k=3, vectors=teacher).entity)


def test_a_teacher_takes_no_random_numbers(finished, graph):
    torch.manual_seed(5)
    made(near_miss(finished.folder), graph)
    after = torch.rand(())
    torch.manual_seed(5)
    assert after == torch.rand(())


def test_a_run_can_have_the_model_of_another_one_as_its_teacher(finished, tables, tmp_path):
    tables["sampler"] = near_miss(finished.folder)
    folder = tmp_path / "taught"
    result = run(check_config(tables), folder)
    assert result is not None and result["sampler"] == "teacher-negatives"
    assert run(check_config(tables), folder, resume=True) is not None


def test_a_missing_teacher_is_named(graph, tmp_path):
    with pytest.raises(
        ConfigError, match=r"\[sampler.teacher\] .*is not the folder of a finished run"
    ):
        made(near_miss(tmp_path / "nobody"), graph)


def test_a_run_that_is_not_finished_is_no_teacher(finished, graph):
    (finished.folder / "result.json").unlink()
    with pytest.raises(ConfigError, match="is not the folder of a finished run: it has no result"):
        made(near_miss(finished.folder), graph)


def test_a_teacher_of_another_graph_is_refused(finished, other_graph):
    with pytest.raises(ConfigError, match=r"\[sampler.teacher\] .*was trained on another graph"):
        made(near_miss(finished.folder), other_graph)


def test_a_teacher_is_a_table():
    spec = {"name": "teacher-negatives", "k": 3, "teacher": "runs/helper"}
    with pytest.raises(
        ConfigError, match=r"\[sampler.teacher\] is a table with a name, of: run; got 'runs/helper'"
    ):
        build(spec, SAMPLERS, "sampler")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_teacher_with_values_that_are_not_finite_is_refused(finished, graph, value):
    state = checkpoint.load(finished.folder, "best")
    state["step"]["model.entity.weight"][3, 2] = value
    progress = checkpoint.load(finished.folder, "last")
    progress["progress"]["best_digest"] = checkpoint.save(finished.folder, "best", state)
    checkpoint.save(finished.folder, "last", progress)
    with pytest.raises(ConfigError, match=r"values that are not finite: entity\.weight"):
        made(near_miss(finished.folder), graph)


def test_the_record_holds_the_digest_of_the_teacher(finished, tables, tmp_path):
    tables["sampler"] = near_miss(finished.folder)
    result = run(check_config(tables), tmp_path / "taught")
    folder = finished.folder
    assert result["pretrained"] == {str(folder): checkpoint.digest_of(folder, "best")}


def test_a_run_resumed_with_another_teacher_warns(finished, tables, tmp_path):
    tables["sampler"] = near_miss(finished.folder)
    run(check_config(tables), tmp_path / "taught")
    shutil.rmtree(finished.folder)
    run(check_config({**tables, "sampler": {"name": "uniform", "k": 2}}), finished.folder)
    with pytest.warns(UserWarning, match="was started with other pretrained"):
        run(check_config(tables), tmp_path / "taught", resume=True)
