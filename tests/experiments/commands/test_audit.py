import pytest


def test_the_audit_of_a_run_judges_hardness(answer, finished):
    result = answer("audit", finished.folder, "--json")
    assert result["trained"] and result["overall"]["percentile"] is not None


def test_the_audit_of_a_file_judges_no_hardness(answer, write, tables):
    result = answer("audit", write(tables), "--json")
    assert not result["trained"] and result["overall"]["percentile"] is None


def test_the_audit_of_a_sampler_that_asks_for_scores_needs_no_run(answer, write, tables):
    spec = {"name": "dynamic-negatives", "k": 2, "inner": tables["sampler"]}
    result = answer("audit", write({**tables, "sampler": spec}), "--json")
    assert result["overall"]["percentile"] is not None


def test_further_truths_count_as_withheld(answer, write, tables, tmp_path):
    extra = tmp_path / "extra.tsv"
    extra.write_text("".join(f"e{i}\tnext\te{j}\n" for i in range(24) for j in range(24)))
    path = write(tables)
    result = answer("audit", path, "--json", "--extra", extra)
    before = answer("audit", path, "--json")
    assert result["overall"]["withheld_counted"] > before["overall"]["withheld_counted"] + 0.1


def test_an_audit_is_shown_beside_the_uniform_sampler(command, finished):
    shown = command("audit", finished.folder).stdout
    assert all(word in shown for word in ("vs. Uniform", "withheld facts", "seventh"))


@pytest.mark.parametrize("estimates", [False, True])
def test_calibration_is_shown_of_samplers_that_estimate_false_negatives(
    command, write, tables, estimates
):
    plain = {"name": "uniform", "k": 4}
    estimating = {
        "name": "false-negative-weighting",
        "inner": plain,
        "estimator": {"name": "cardinality"},
    }
    path = write({**tables, "sampler": estimating if estimates else plain})
    assert ("Calibration" in command("audit", path).stdout) == estimates
