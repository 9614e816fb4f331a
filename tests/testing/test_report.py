from sparring.testing.report import Report


def test_a_report_prints_every_check_with_what_it_found():
    report = Report()
    with report.check("first") as expect:
        expect(True, "unseen")
    with report.check("second") as expect:
        expect(False, "too large")
        expect(False, "perhaps meant", "warning")
    assert str(report).splitlines() == [
        "ok: first",
        "error: second: too large",
        "warning: second: perhaps meant",
    ]
