import shutil

from sparring.experiments.run_folder import Run
from sparring.experiments.serving import identity_of, open_workspace


def opened(folder, **options):
    said = []
    return open_workspace(Run(folder), say=said.append, **options), said


def test_a_run_is_served_with_its_databases(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    workspace, said = opened(folder)
    assert any("calibrating" in text for text in said)
    assert workspace.served.calibration is not None and "test" in workspace.served.metrics
    assert workspace.labels.search("", "entity", 3)
    workspace.close()
    assert (folder / "reviews.db").exists() and (folder / "labels.db").exists()
    first = workspace.served.identity
    workspace, said = opened(folder, reviews=tmp_path / "other.db")
    assert workspace.served.identity == first  # candidates of the queue stay those of this model
    assert not said and (tmp_path / "other.db").exists()
    audit = workspace.served.run_audit()
    assert any(title.startswith("hardness") for title in audit)
    assert all(len(values) == 2 for values in audit.values())
    workspace.close()


def test_labels_that_cannot_be_kept_are_indexed_elsewhere(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    (folder / "labels.db").mkdir()
    workspace, _ = opened(folder, reviews=tmp_path / "reviews.db")
    assert workspace.labels.search("", "entity", 3)
    workspace.close()


def test_the_identity_is_that_of_parameters_and_calibration(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    assert identity_of(Run(folder)) == identity_of(finished)
    (folder / "best.json").write_text("{}")
    other = identity_of(Run(folder))
    assert other != identity_of(finished)
    (folder / "calibration.json").write_text("{}")
    assert identity_of(Run(folder)) not in (other, identity_of(finished))
