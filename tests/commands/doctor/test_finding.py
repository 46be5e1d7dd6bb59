"""An error's message becomes what is wrong and what to do."""

from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import CheckpointError


def test_an_error_is_split_into_what_is_wrong_and_what_to_do() -> None:
    error = CheckpointError("x is cut (a; b); download it again")
    assert Finding.from_error("g", error) == Finding("g", "problem", "x is cut (a; b)", "download it again")
    assert Finding.from_error("g", CheckpointError("x is cut")) == Finding("g", "problem", "x is cut")
