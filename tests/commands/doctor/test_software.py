"""Packages are compared with what is required."""

import pytest
from packaging.requirements import Requirement

from vita_demo.commands.doctor.software import check_package


@pytest.mark.parametrize(
    ("requirement", "level", "words"),
    [
        ("numpy>=1", "ok", "numpy "),
        ("numpy>=99", "problem", "does not satisfy numpy>=99"),
        ("no-such-package-here", "problem", "no-such-package-here is not installed"),
    ],
)
def test_a_package_is_compared_with_what_is_required(requirement: str, level: str, words: str) -> None:
    finding = check_package(Requirement(requirement))
    assert finding.level == level
    assert words in finding.text
