"""Are Python and the packages there, and new enough?  Reads their metadata and imports none of them."""

import platform
import sys
from collections.abc import Generator, Mapping
from importlib import metadata

from packaging.requirements import Requirement

from vita_demo.commands.doctor.finding import Finding

GROUP = "Software"
PACKAGES = ("torch", "transformers", "tokenizers", "decord", "librosa", "soundfile", "numpy", "rich", "click")
_PYTHON = (3, 11)
_REINSTALL = "pip install -c constraints.txt . in the checkout of vita-demo"


def check_software() -> Generator[Finding, None, None]:
    """Compare Python and every package that the demo needs with what it needs."""
    version = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info >= _PYTHON:
        yield Finding(GROUP, "ok", version)
    else:
        yield Finding(GROUP, "problem", version, f"install Python {'.'.join(map(str, _PYTHON))} or newer")
    requirements = _requirements()
    for name in sorted(requirements, key=lambda name: (name not in PACKAGES, name)):
        yield check_package(requirements[name])


def check_package(requirement: Requirement) -> Finding:
    """Say whether a package is there in a version that is new enough."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(GROUP, "problem", f"{requirement.name} is not installed", _REINSTALL)
    if not requirement.specifier.contains(version, prereleases=True):
        wanted = f"{requirement.name} {version} does not satisfy {requirement}"
        return Finding(GROUP, "problem", wanted, _REINSTALL)
    return Finding(GROUP, "ok", f"{requirement.name} {version}")


def _requirements() -> Mapping[str, Requirement]:
    """Read what vita-demo requires; without an installed vita-demo, whose metadata say it, any version will do."""
    try:
        lines = metadata.requires("vita-demo") or []
    except metadata.PackageNotFoundError:
        lines = list(PACKAGES)
    requirements = (Requirement(line) for line in lines)
    return {found.name: found for found in requirements if found.marker is None or found.marker.evaluate({"extra": ""})}
