from sparring.experiments.report.hardness import hardness, hardness_in_words, label_positions
from sparring.experiments.report.records import THIN, SampleStats, Variant


def test_a_label_goes_above_its_point():
    assert label_positions([(300.0, 100.0)], ["alone"], 600.0) == ["top center"]


def test_two_points_side_by_side_share_above_and_below():
    assert label_positions([(300.0, 100.0), (320.0, 100.0)], ["first", "second"], 600.0) == [
        "top center",
        "bottom center",
    ]


def test_a_label_at_the_left_edge_goes_to_the_right():
    assert label_positions([(0.0, 100.0)], ["at the edge"], 600.0) == ["middle right"]


def test_a_label_at_the_right_edge_goes_to_the_left():
    assert label_positions([(600.0, 100.0)], ["at the edge"], 600.0) == ["middle left"]


def test_a_label_that_fits_nowhere_is_left_out():
    crowd = [(300.0, 100.0)] * 5
    assert label_positions(crowd, ["of five at one place"] * 5, 600.0)[-1] is None


def audited(label, mrr, withheld, harder):
    stats = SampleStats(withheld, harder, None, None, None, None, None)
    return Variant(0, label, {"mrr": {"mean": mrr}}, [], [], [], {"own": stats}, [])


def test_the_sentence_says_what_the_plot_shows():
    variants = [
        audited("uniform", 0.3, 0.001, 0.5),
        audited("hard", 0.2, 0.002, 0.9),
        audited("generator", 0.4, 0.01, 0.7),
    ]
    text = hardness_in_words(variants).replace(THIN, " ")
    assert text == (
        "The hardest negatives are those of hard: 90 % of the entities score lower. Withheld "
        "facts range from 0.10 % (uniform) to 1.0 % (generator); in 2 of 3 pairs of variants, the "
        "one with the harder negatives draws more of them. The highest MRR is that of generator, "
        "at 70 % and 1.0 %."
    )


def test_a_plot_of_one_point_compares_nothing():
    text = hardness_in_words([audited("hard", 0.2, 0.002, 0.9)]).replace(THIN, " ")
    assert text == (
        "Negatives of hard score higher than 90 % of the entities, and 0.20 % of them are "
        "withheld facts."
    )


def test_without_a_plot_there_is_no_sentence():
    assert hardness_in_words([]) == ""


def test_on_a_phone_labels_have_positions_of_their_own():
    near = [audited("first one", 0.3, 0.001, 0.5), audited("second one", 0.2, 0.0028, 0.5)]
    far = [audited("a third", 0.2, 0.1, 0.9)]
    (view,) = hardness([*near, *far])
    wide = [trace.get("textposition") for trace in view.figure["data"]]
    narrow = [trace["meta"]["narrow"] for trace in view.figure["data"]]
    assert wide == ["top center"] * 3
    assert narrow != wide and narrow[0] != "top center"
