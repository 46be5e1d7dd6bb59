"""The errors that a user can meet.

    VitaDemoError
    ├── InputError        an argument that cannot be used as given            exit code 2
    ├── ConfigError       settings that contradict each other                 exit code 2
    ├── MediaError        a picture, video or sound file that cannot be read  exit code 1
    │   └── UnknownFormatError  it is no file of its kind at all              exit code 1
    ├── CheckpointError   a model folder that cannot be loaded                exit code 1
    ├── GenerationError   a failure while the answer is made                  exit code 1
    └── ComparisonError   answers that should be equal and are not            exit code 1

Every message is one line that says what is wrong, with which value, and what to do.
"""


class VitaDemoError(Exception):
    """Base class: whoever catches this catches all that the package raises on purpose."""

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
    """A file that is no picture, no video or no sound at all, rather than a damaged one."""


class CheckpointError(VitaDemoError):
    """A model folder that cannot be loaded."""


class GenerationError(VitaDemoError):
    """A failure while the answer is made."""


class ComparisonError(VitaDemoError):
    """Answers that should be equal and are not."""
