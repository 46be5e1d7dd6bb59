"""How many copies of the model there are, and what each of them gets of a machine.  No Ray."""

import re
from dataclasses import dataclass
from typing import Self

from vita_demo.checkpoint.source import ModelSource
from vita_demo.errors import ConfigError


@dataclass(frozen=True)
class Pool:
    """The least and the most copies of a model.

    Attributes:
        least: how many there are at the beginning.
        most: how many there may be; None is as many as the cluster has room for.
    """

    least: int = 1
    most: int | None = None

    @classmethod
    def parse(cls, text: str, flag: str) -> Self:
        """Read ``4``, ``1:8`` or, without a limit, ``2:``.

        Raises:
            ConfigError: naming the flag, when it is something else.
        """
        match = re.fullmatch(r"(\d+)(:?)(\d*)", text)
        if match is None:
            raise ConfigError(f"{flag} {text} is no number of copies; give one, or the least and the most as 1:8")
        least = int(match[1])
        most = int(match[3]) if match[3] else (None if match[2] else least)
        if least < 1 or (most is not None and most < least):
            raise ConfigError(f"{flag} {text} must begin with at least 1 and not fall; give 1:8 for one to eight")
        return cls(least, most)


@dataclass(frozen=True)
class Share:
    """What one copy of the model takes of its machine.

    Attributes:
        gpus: how many GPUs.
        cores: CPU cores, which are its threads too where it has no GPU.
    """

    gpus: int
    cores: int

    @classmethod
    def of(cls, source: ModelSource, cluster_gpus: float) -> Self:
        """Give a copy a GPU where the cluster has some, else as many cores as ``--threads`` says, or one.

        ``--device cuda`` gives it one in any case: a cluster may start machines with GPUs when they are asked for.

        Raises:
            ConfigError: when a certain GPU was asked for.
        """
        if ":" in source.device:
            raise ConfigError(f"--device {source.device} names one GPU, and Ray gives each copy its own; give cuda")
        gpus = int(source.device == "cuda" or (source.device == "auto" and cluster_gpus > 0))
        return cls(gpus, source.threads or 1)
