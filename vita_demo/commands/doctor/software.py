"""Checks the versions of the required packages by their metadata, without importing them."""

import platform
import sys
from collections.abc import Mapping
from importlib import metadata

from packaging.requirements import Requirement

from vita_demo import __version__
from vita_demo.commands.doctor.finding import Finding

GROUP = "Software"
PACKAGES = ("torch", "transformers", "tokenizers", "av", "Pillow", "soundfile", "numpy", "rich", "click")
_REINSTALL = "pip install -c constraints.txt . in the checkout of vita-demo"


def check_software(findings: list[Finding]) -> None:
    """Report the version of Python, which is one that can import this, and compare every required package's."""
    findings.append(Finding(GROUP, "ok", f"Python {platform.python_version()} ({sys.executable})"))
    requirements = _requirements()
    names = sorted(requirements, key=lambda name: (name not in PACKAGES, name))
    findings += [check_package(requirements[name]) for name in names]


def check_package(requirement: Requirement) -> Finding:
    """Compare the installed version of a package with the required one."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(GROUP, "problem", f"{requirement.name} is not installed", _REINSTALL)
    if not requirement.specifier.contains(version, prereleases=True):
        text = f"{requirement.name} {version} does not satisfy {requirement}"
        return Finding(GROUP, "problem", text, _REINSTALL)
    return Finding(GROUP, "ok", f"{requirement.name} {version}")


def versions() -> dict[str, str | None]:
    """Return the versions of what computes, as written to JSON; None where a package is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "vita_demo": __version__}
    for name in ("torch", "triton", "transformers", "numba", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _requirements() -> Mapping[str, Requirement]:
    """Return vita-demo's requirements; ``PACKAGES`` in any version when vita-demo is not installed."""
    try:
        lines = metadata.requires("vita-demo") or []
    except metadata.PackageNotFoundError:
        lines = list(PACKAGES)
    requirements = [Requirement(line) for line in lines]
    return {item.name: item for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})}
