from sparring.experiments.report.hardness import label_positions


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
