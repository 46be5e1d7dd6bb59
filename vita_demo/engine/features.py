"""What the encoders make of a request's media: the pieces that are spliced into the prompt."""

from dataclasses import dataclass

from torch import Tensor

from vita_demo.errors import InputError
from vita_demo.metrics import RunRecorder
from vita_demo.model.vita import VitaModel
from vita_demo.preprocess.media import Media
from vita_demo.request import Request


@dataclass(frozen=True)
class Features:
    """Encoded media in the language model's width.

    Attributes:
        images: picture tiles or video frames [G, P, D]; None without them.
        sound: a clip [P, D]; None without one.
    """

    images: Tensor | None = None
    sound: Tensor | None = None

    @property
    def count(self) -> int:
        """Image placeholders in the prompt."""
        return 0 if self.images is None else len(self.images)

    @property
    def image_tokens(self) -> int:
        """Positions that pictures or frames take."""
        return 0 if self.images is None else self.images.shape[0] * self.images.shape[1]

    @property
    def audio_tokens(self) -> int:
        """Positions that sound takes."""
        return 0 if self.sound is None else len(self.sound)


def encode_media(model: VitaModel, request: Request, media: Media, recorder: RunRecorder) -> Features:
    """Run the encoders for the media that are there; their times go to ``recorder``.

    Raises:
        InputError: when the request needs another projector.
    """
    check_projector(model, request)
    recorder.begin_model()
    images = sound = None
    if media.tiles is not None:
        with recorder.stage("vision"):
            images = model.encode_tiles(media.tiles)  # [G, P, D]
    if media.fbank is not None:
        with recorder.stage("audio"):
            sound = model.encode_audio(media.fbank)  # [P, D]
    return Features(images, sound)


def check_projector(model: VitaModel, request: Request) -> None:
    """Refuse a request for a projector that the model has not.

    Raises:
        InputError: when the request needs another one.
    """
    if request.frame_cat and model.config.tiles_per_feature == 1:
        raise InputError(
            "--frameCat needs a checkpoint whose projector joins five frames, and this one's does not; leave it out"
        )
