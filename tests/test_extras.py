import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from sparring import extras
from sparring.extras import MissingExtraError, install_command, optional


class Installed:
    """A distribution with a given origin."""

    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.origin


def installed_from(monkeypatch, origin):
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(origin))


def test_a_package_that_is_installed_is_imported():
    assert optional("json.decoder", extra="any", purpose="this test") is json.decoder


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    installed_from(monkeypatch, None)
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.delitem(sys.modules, "plotly.graph_objects", raising=False)
    wanted = r'the HTML report needs the package plotly; run pip install "sparring\[report\]"'
    with pytest.raises(MissingExtraError, match=wanted):
        optional("plotly.graph_objects", extra="report", purpose="the HTML report")


def test_what_the_package_itself_lacks_is_not_taken_for_the_package(monkeypatch, tmp_path):
    (tmp_path / "needs_more.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        optional("needs_more", extra="any", purpose="this test")


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "sparring[rdf]"'),
        ("{}", 'pip install "sparring[rdf]"'),
        (
            json.dumps({"url": "file:///home/my%20code", "dir_info": {"editable": True}}),
            'pip install --editable "/home/my code[rdf]"',
        ),
        (
            json.dumps({"url": "file:///home/code", "dir_info": {}}),
            'pip install "sparring[rdf]"',
        ),
    ],
)
def test_the_command_follows_how_the_package_is_installed(monkeypatch, origin, command):
    installed_from(monkeypatch, origin)
    assert install_command("rdf") == command


def test_without_an_installed_package_the_command_is_that_of_the_index(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert install_command("rdf") == 'pip install "sparring[rdf]"'
