"""What the conformance kit says of samplers of other libraries."""

from sparring.testing import report_external


def words(external):
    """All that is wrong with a sampler, in one text."""
    return " ".join(violation.message for violation in report_external(external).violations)
