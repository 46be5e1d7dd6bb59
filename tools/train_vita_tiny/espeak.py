"""The library of espeak-ng, driven through ctypes: text to 16-bit samples, without starting a program each time.

Knows the C interface of `speak_lib.h`; nothing of speakers, questions or sampling rates other than its own.
"""

import ctypes
import os
from collections.abc import Callable

from vita_demo.errors import VitaDemoError

LIBRARY = "libespeak-ng.so.1"
# Of espeak-ng's 100, at which loud speakers clip.
VOLUME = 40
MISSING = "espeak-ng is not installed; the speech to train on needs it: apt-get install espeak-ng"

_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
_UTF8, _END_PAUSE = 1, 0x1000
_SPEED, _VOLUME, _PITCH = 1, 2, 3
_CALLBACK_TYPE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, loaded once in this process.

    Raises:
        VitaDemoError: when it is not installed.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise VitaDemoError(MISSING) from error
        self.rate_hz: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _DO_NOT_EXIT)
        if self.rate_hz <= 0:
            raise VitaDemoError(MISSING)
        self._blocks: list[bytes] = []
        # Kept here because the library only holds the address.
        self._callback = _CALLBACK_TYPE(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)
        # Loads the phonemes and a dictionary, which each fork would otherwise load for itself: 3 ms of 11.
        self._set_voice("en-us")

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def _set_voice(self, name: str) -> None:
        # By the name of a voice's file alone: where espeak-ng looks a language up ("en-gb"), it drops the variant.
        if self._library.espeak_SetVoiceByName(name.encode()):
            raise VitaDemoError(f"espeak-ng has no voice {name}; see the files of espeak-ng --voices")

    def pcm(self, text: str, voice_name: str, speed_wpm: int, pitch: int) -> bytes:
        """Return what espeak-ng says as 16-bit samples at ``rate_hz``.

        What was said before leaves traces (the flutter of the voice goes on): see ``pure_pcm``.

        Raises:
            VitaDemoError: when the voice does not exist.
        """
        self._blocks.clear()
        self._set_voice(voice_name)
        self._library.espeak_SetParameter(_SPEED, speed_wpm, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_SetParameter(_VOLUME, VOLUME, 0)
        encoded = text.encode() + b"\0"
        # Without a pause at the end, the last sound is cut before it has died away.
        self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8 | _END_PAUSE, None, None)
        return b"".join(self._blocks)

    def pure_pcm(self, text: str, voice_name: str, speed_wpm: int, pitch: int) -> bytes:
        """``pcm`` as a function of its arguments alone: said by a fork of this process, which ends after it.

        Raises:
            VitaDemoError: when nothing comes back, for example because the voice does not exist.
        """
        said = in_a_fork(lambda: self.pcm(text, voice_name, speed_wpm, pitch))
        if not said:
            raise VitaDemoError(f"espeak-ng says nothing as {voice_name} for {text!r}; see espeak-ng --voices")
        return said


def in_a_fork(work: Callable[[], bytes]) -> bytes:
    """Run ``work`` in a fork of this process and return its bytes; empty when it failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(work())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
