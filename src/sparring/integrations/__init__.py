"""Our samplers in the training loops of other libraries, and their samplers in our conformance kit.

Each module imports the library it is for, so import the one you need. `adapter` holds what they
have in common, and `export` writes negatives to files. A package that adds another library calls
`register_host` in a module that its entry point of the group "sparring" names.
"""

from importlib import import_module
from types import ModuleType

from sparring.registry import load_plugins

HOSTS = {
    "pykeen": "sparring.integrations.pykeen",
    "torch_geometric": "sparring.integrations.pyg",
    "torchkge": "sparring.integrations.torchkge",
    "kge": "sparring.integrations.libkge",
}


def register_host(package: str, module: str) -> None:
    """Make the sampler classes of a library known to `sparring check`.

    Args:
        package: top-level package of the classes, such as "pykeen".
        module: name of a module with a function `external_sampler(sampler_class, options)`, which
            returns a `sparring.testing.ExternalSampler`.

    Raises:
        ValueError: if the package has a module already.
    """
    if HOSTS.setdefault(package, module) != module:
        raise ValueError(f"the package {package!r} has the module {HOSTS[package]!r} already")


def host_module(sampler_class: type) -> ModuleType | None:
    """The module for the library that a class, or one of its bases, comes from; None if unknown."""
    load_plugins()
    packages = (base.__module__.partition(".")[0] for base in sampler_class.__mro__)
    names = (HOSTS[package] for package in packages if package in HOSTS)
    name = next(names, None)
    return None if name is None else import_module(name)
