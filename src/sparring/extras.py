"""Optional packages: imported where they are used, with a clear hint where they are missing."""

import importlib
import json
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from urllib.parse import unquote, urlparse


class MissingExtraError(ImportError):
    """An optional package that is not installed, with the command that installs it."""


def optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: such as "plotly.graph_objects".
        extra: the extra of this package that installs it.
        purpose: what needs it, as the start of a sentence: "the HTML report".

    Raises:
        MissingExtraError: if the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package {package}; run {install_command(extra)}"
        ) from None


def install_command(extra: str) -> str:
    """The command that installs an extra of this package, as it is installed here."""
    checkout = _checkout()
    if checkout:
        return f'pip install --editable "{checkout}[{extra}]"'
    return f'pip install "sparring[{extra}]"'


def _checkout() -> str:
    """The folder of an editable install (PEP 610); empty for any other."""
    try:
        origin = json.loads(distribution("sparring").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    editable = origin.get("dir_info", {}).get("editable", False)
    return unquote(urlparse(origin["url"]).path) if editable else ""
