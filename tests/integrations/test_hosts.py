"""Which module knows the samplers of a library."""

import sys
from types import ModuleType

import pytest

from sparring import integrations
from sparring.integrations import host_module, register_host


class Draws:
    """A sampler class of a library."""


@pytest.fixture
def library(monkeypatch):
    """A class of a package of its own, and a registry that is restored afterwards."""
    monkeypatch.setattr(integrations, "HOSTS", dict(integrations.HOSTS))
    monkeypatch.setattr(Draws, "__module__", "their_library.sampling")
    monkeypatch.setitem(sys.modules, "adapter_of_theirs", ModuleType("adapter_of_theirs"))
    return Draws


def test_a_class_of_an_unknown_library_has_no_module(library):
    assert host_module(library) is None


def test_a_registered_library_is_found_by_its_package(library):
    register_host("their_library", "adapter_of_theirs")
    assert host_module(library).__name__ == "adapter_of_theirs"


def test_a_class_derived_from_one_of_the_library_is_found(library):
    register_host("their_library", "adapter_of_theirs")
    assert host_module(type("Mine", (library,), {})).__name__ == "adapter_of_theirs"


def test_a_library_keeps_its_module(library):
    register_host("their_library", "adapter_of_theirs")
    register_host("their_library", "adapter_of_theirs")
    with pytest.raises(ValueError, match="'their_library' has the module 'adapter_of_theirs'"):
        register_host("their_library", "another")
