import json
import shutil
import statistics
import sys
from dataclasses import replace

import pytest

from sparring.experiments.commands.compare import RunCount
from sparring.experiments.compare import check_comparison, compare, mean_over_seeds, read_comparison
from sparring.experiments.run_folder import Run, RunError
from sparring.experiments.trust import UntrustedError
from sparring.files import read_object
from sparring.registry import ConfigError


def two_samplers(small):
    variants = {"uniform": {}, "popularity": {"sampler": {"name": "popularity", "k": 4}}}
    train = {**small["train"], "epochs": 2}
    return {**small, "train": train, "compare": {"seeds": [0, 1], "variants": variants}}


@pytest.fixture
def both(small):
    """Two samplers over two seeds, as nested tables."""
    return two_samplers(small)


@pytest.fixture
def plan(both):
    return check_comparison("two", both)


@pytest.fixture(scope="module")
def compared_once(small, tmp_path_factory):
    """A finished comparison; not to be changed."""
    plan = check_comparison("two", two_samplers(small))
    return compare(plan, tmp_path_factory.mktemp("comparison") / "runs")


@pytest.fixture
def compared(compared_once, tmp_path):
    """The finished comparison, in a folder of the test's own."""
    folder = shutil.copytree(compared_once.folder, tmp_path / "runs")
    runs = {
        label: [Run(folder / run.folder.relative_to(compared_once.folder)) for run in found]
        for label, found in compared_once.runs.items()
    }
    return replace(compared_once, folder=folder, runs=runs)


def refused(tables, match):
    with pytest.raises(ConfigError, match=match):
        check_comparison("two", tables)


def with_compare(tables, **changes):
    return {**tables, "compare": {**tables["compare"], **changes}}


class Stop:
    def __init__(self, trainer):
        self.trainer = trainer

    def __call__(self, record):
        self.trainer.stop()

    def close(self):
        pass


def test_a_plan_is_read_from_a_file(both, write):
    plan = read_comparison(write(both, "two.toml"))
    assert (plan.name, plan.seeds, list(plan.variants)) == (
        "two",
        (0, 1),
        ["uniform", "popularity"],
    )


def test_variants_differ_where_they_say(plan):
    names = [plan.config(label, 0).parts["sampler"]["name"] for label in plan.variants]
    assert names == ["uniform", "popularity"]


def test_seeds_reach_the_configuration(plan):
    assert plan.config("popularity", 1).general.seed == 1


def test_overrides_hold_for_all_variants(both, write):
    plan = read_comparison(write(both), ["model.dim=6", "compare.seeds=[7]"])
    assert [config.parts["model"]["dim"] for config in plan.variants.values()] == [6, 6]
    assert plan.seeds == (7,)


def test_variants_may_use_a_former_name_of_a_table(both):
    both["compare"]["variants"]["bernoulli"] = {"sides": {"name": "bernoulli"}}
    plan = check_comparison("two", both)
    assert plan.config("bernoulli", 0).parts["corruption"]["name"] == "bernoulli"


def test_a_mistake_names_file_and_variant(both, write):
    both["compare"]["variants"]["popularity"]["sampler"]["kk"] = 3
    with pytest.raises(
        ConfigError, match=r"two\.toml: \[compare.variants.popularity\] \[sampler\] "
    ):
        read_comparison(write(both, "two.toml"))


def test_a_file_without_a_comparison_is_refused(tables):
    refused(tables, r"\[compare\] is missing: a table with seeds and variants")


def test_an_unknown_key_is_met_with_the_nearest(both):
    refused(with_compare(both, seed=[1]), r"\[compare\] there is no 'seed'; did you mean 'seeds'")


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_are_different_and_at_least_one(both, seeds):
    refused(with_compare(both, seeds=seeds), r"\[compare.seeds\] lists different seeds")


def test_seeds_are_whole_numbers(both):
    refused(with_compare(both, seeds=["a"]), r"\[compare.seeds\] expects list\[int\]; got \['a'\]")


def test_there_is_at_least_one_variant(both):
    refused(with_compare(both, variants={}), r"\[compare.variants\] needs at least one label")


def test_a_variant_is_a_table(both):
    refused(with_compare(both, variants={"a": 3}), r"\[compare.variants.a\] is a table; got 3")


def test_a_label_is_fit_for_a_folder(both):
    refused(with_compare(both, variants={"../a": {}}), r"\[compare.variants.../a\] names a folder")


def test_variants_share_the_graph(both):
    variants = {"a": {"graph": {"name": "atlas"}}}
    refused(with_compare(both, variants=variants), "variants do not change 'graph'")


def test_every_variant_is_trained_under_every_seed(compared):
    results = [run.result() for runs in compared.runs.values() for run in runs]
    assert [(r["sampler"], r["seed"]) for r in results] == [
        ("uniform", 0),
        ("uniform", 1),
        ("popularity", 0),
        ("popularity", 1),
    ]


def test_the_numbers_are_kept_in_the_folder(compared):
    assert read_object(compared.folder / "comparison.json") == compared.numbers()


def test_the_difference_is_that_of_the_means(compared):
    found = compared.numbers()["variants"]
    gap = found["popularity"]["mrr"]["mean"] - found["uniform"]["mrr"]["mean"]
    assert found["popularity"]["difference"]["difference"] == pytest.approx(gap)


def test_the_first_variant_has_no_difference(compared):
    assert compared.numbers()["variants"]["uniform"]["difference"] is None


def test_every_run_is_audited(compared):
    folder = compared.runs["popularity"][1].folder
    assert json.loads((folder / "audit.json").read_text())["sampler"] == "Popularity"


def test_every_run_shows_negatives(compared):
    folder = compared.runs["popularity"][1].folder
    assert len(read_object(folder / "negatives.json")["queries"]) == 6


def test_further_truths_reach_the_audit(both, tmp_path):
    extra = tmp_path / "extra.tsv"
    extra.write_text("".join(f"e{i}\tnext\te{j}\n" for i in range(24) for j in range(24)))
    plan = check_comparison("two", with_compare(both, seeds=[0], extra=str(extra)))
    run = compare(plan, tmp_path / "runs").runs["uniform"][0]
    assert json.loads((run.folder / "audit.json").read_text())["overall"]["withheld_counted"] > 0.2


def test_finished_runs_are_kept(plan, compared):
    def trained(label, seed, trainer):
        raise AssertionError(label)

    assert compare(plan, compared.folder, callbacks=trained).numbers() == compared.numbers()


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_to_the_same_numbers(plan, compared, tmp_path):
    folder = tmp_path / "broken"
    assert compare(plan, folder, callbacks=lambda label, seed, trainer: [Stop(trainer)]) is None
    ours, theirs = compare(plan, folder).numbers(), compared.numbers()
    assert [v["mrr"] for v in ours["variants"].values()] == [
        v["mrr"] for v in theirs["variants"].values()
    ]


def test_a_changed_variant_is_refused(both, compared):
    both["compare"]["variants"]["popularity"]["sampler"]["k"] = 5
    with pytest.raises(RunError, match=r"holds another run, which differs in sampler; add --fresh"):
        compare(check_comparison("two", both), compared.folder)


def test_a_variant_whose_configuration_was_altered_is_named(plan, compared):
    path = compared.folder / "popularity" / "seed-0" / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))
    with pytest.raises(UntrustedError, match=r"seed-0/config\.json was altered after training"):
        compare(plan, compared.folder)
    again = compare(plan, compared.folder, fresh=True)
    assert again.runs["popularity"][0].config().general.seed == 0


def test_a_changed_variant_is_trained_anew_where_asked(both, compared):
    both["compare"]["variants"]["popularity"]["sampler"]["k"] = 5
    again = compare(check_comparison("two", both), compared.folder, fresh=True)
    assert [run.result()["k"] for run in again.runs["popularity"]] == [5, 5]


def test_variants_that_did_not_change_are_kept_then(both, compared):
    both["compare"]["variants"]["popularity"]["sampler"]["k"] = 5
    trained = set()

    def callbacks(label, seed, trainer):
        trained.add(label)
        return []

    compare(check_comparison("two", both), compared.folder, fresh=True, callbacks=callbacks)
    assert trained == {"popularity"}


def test_a_variant_that_cannot_be_built_is_refused_before_any_is_trained(both, tmp_path):
    both["compare"]["variants"]["popularity"]["sampler"]["k"] = 0
    with pytest.raises(ConfigError, match="a sampler must offer at least one candidate"):
        compare(check_comparison("two", both), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_spread_is_the_sample_standard_deviation():
    assert mean_over_seeds([1.0, 2.0, 4.0])["spread"] == statistics.stdev([1.0, 2.0, 4.0])


def test_one_seed_has_no_spread():
    assert mean_over_seeds([1.0]) == {"mean": 1.0, "spread": None, "each": [1.0]}


@pytest.fixture
def callbacks(command, both, write, compared):
    """What the command says of the finished comparison."""
    return command("compare", write(both, "two.toml"), "--folder", "runs", "--quiet")


def test_the_command_writes_a_report(callbacks, compared):
    assert callbacks.stdout.endswith("in a browser: runs/report.html\n")
    assert (compared.folder / "report.html").read_text().lstrip().startswith("<!")


def test_the_command_prints_a_row_per_variant(callbacks):
    assert "circle (test), 2 seeds" in callbacks.stdout
    rows = [row.split()[0] for row in callbacks.stdout.splitlines() if " ± " in row]
    assert rows == ["uniform", "popularity"]


def test_the_command_says_what_to_do_next(callbacks):
    assert "  sparring predict runs/" in callbacks.stdout
    assert "  sparring fit GRAPH" in callbacks.stdout


def test_runs_are_counted_with_the_time_left_in_all(plan, monkeypatch, tmp_path):
    clock = iter([0.0, 10.0, 40.0, 50.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    count = RunCount(plan, tmp_path)
    assert [count.announce(label, seed) for label, seed in count.runs] == [
        "run 1 of 4: uniform, seed 0",
        "run 2 of 4: popularity, seed 0; about 30 s left in all",
        "run 3 of 4: uniform, seed 1; about 40 s left in all",
        "run 4 of 4: popularity, seed 1; about 30 s left in all",
    ]


def test_finished_runs_take_no_time(plan, compared):
    assert not RunCount(plan, compared.folder).left


def test_the_command_tells_how_to_go_on(command, both, write, monkeypatch):
    watch = lambda trainer, *rest, **options: [Stop(trainer)]
    monkeypatch.setattr("sparring.experiments.callbacks.progress_callbacks", watch)
    callbacks = command("compare", write(both, "two.toml"), "--set", "seed=4")
    assert callbacks.exit_code == 130
    assert "stopped; to continue: sparring compare " in callbacks.stderr
    assert callbacks.stderr.endswith("two.toml --folder runs/two --set seed=4\n")


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_without_what_the_report_needs_the_command_says_how_to_install_it(
    command, both, write, monkeypatch, package
):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("sparring.experiments.report")]:
        monkeypatch.delitem(sys.modules, name)
    result = command("compare", write(both, "two.toml"), "--quiet")
    assert result.exit_code == 1
    assert f"error: the HTML report needs the package {package}; run pip" in result.stderr


def test_a_comparison_is_a_table_in_a_notebook(compared):
    shown = compared._repr_html_()
    assert shown.count("<tr>") == 3 and "popularity" in shown and "±" in shown
    assert repr(compared).startswith("Comparison(")
