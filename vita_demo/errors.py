"""The errors for users.

Every message is one line that says what is wrong, with which value, and what to do.
"""


class VitaDemoError(Exception):
    """Base class of all errors that the package raises on purpose.

    Attributes:
        exit_code: the command's exit code.
    """

    exit_code = 1


class InputError(VitaDemoError):
    """An argument that cannot be used as given."""

    exit_code = 2


class ConfigError(VitaDemoError):
    """Settings that contradict each other, or that this package does not implement."""

    exit_code = 2


class MediaError(VitaDemoError):
    """A picture, video or sound file that cannot be read."""


class UnknownFormatError(MediaError):
    """A file of another kind, rather than a damaged picture, video or sound."""


class CheckpointError(VitaDemoError):
    """A model folder that cannot be loaded."""


class GenerationError(VitaDemoError):
    """A failure during the generation."""


class ComparisonError(VitaDemoError):
    """Answers that differ where they should be equal."""


class QueueFullError(VitaDemoError):
    """More requests wait than may."""


class FailedRowsError(VitaDemoError):
    """Rows of a batch that could not be answered."""
