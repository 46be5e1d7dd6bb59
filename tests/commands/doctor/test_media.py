"""Media that cannot be read are problems, missing formats are notes."""

import pytest
import soundfile

from vita_demo.commands.doctor import media
from vita_demo.commands.doctor.finding import Finding


def test_media_that_fail_are_problems_and_formats_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError("libav.so is missing")

    monkeypatch.setattr(media, "_read_video", fail)
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"FLAC": "", "OGG": ""})
    findings: list[Finding] = []
    media.check_media(findings)
    levels = {finding.text: finding.level for finding in findings}
    assert levels["videos cannot be read: libav.so is missing"] == "problem"
    assert levels["MP3 sound is not in this libsndfile"] == "note"
    assert levels["FLAC sound written and read"] == "ok"
