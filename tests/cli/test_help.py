"""Completion and help."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Run

Vita = Callable[..., Run]


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float32_on_the_cpu")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_flags_and_commands(shell: str) -> None:
    def complete(words: str, count: int) -> str:
        environment = {**os.environ, "_VITA_DEMO_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = words.rsplit(" ", 1)[-1] if shell == "fish" else str(count)
        command = [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'vita-demo'; from vita_demo.cli import main; main()",
        ]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    assert "--image_path" in complete("vita-demo --ima", 1)
    assert "callbacks" in complete("vita-demo call", 1)


def test_help_names_every_command_and_its_examples_are_real(vita: Vita) -> None:
    from vita_demo.cli import cli

    text = vita("--help").out
    assert all(f"  {name} " in text for name in cli.commands if name != "run")
    examples = [line.split() for line in text.splitlines() if line.strip().startswith("vita-demo --")]
    assert len(examples) == 4
    options = {name for parameter in cli.commands["run"].params for name in parameter.opts}
    for example in examples:
        assert {word for word in example if word.startswith("--")} <= options
