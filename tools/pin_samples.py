"""Write down which tokens vita-tiny answers to the samples with: in float32 they are the same on every machine.

    python -m tools.pin_samples

Run it after the model in assets/ has changed; a test keeps to what it wrote.
"""

import json
from pathlib import Path

from vita_demo import Pipeline, Request
from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.resources import resource

PINNED = Path(__file__).resolve().parents[1] / "tests" / "data" / "sample_token_ids.json"
_DESCRIBE, _HAPPENS = "Describe this image.", "What happens in the video?"


def sample_requests() -> dict[str, Request]:
    """Return a request for each sample in assets/, by what it shows."""
    picture, clip = (resource("assets", "scene.png"),), resource("assets", "moving.mp4")
    sounds = {name: resource("assets", f"{name}.wav") for name in ("question", "noisy_question", "noise")}
    heard = {name: Request(image_paths=picture, audio_path=path) for name, path in sounds.items()}
    return {
        "picture": Request(question=_DESCRIBE, image_paths=picture),
        "picture in Chinese": Request(question="描述这张图片。", image_paths=picture),
        "video": Request(question=_HAPPENS, video_path=clip),
        "no picture": Request(question=_DESCRIBE),
        **heard,
    }


def answer_ids(pipeline: Pipeline) -> dict[str, list[int]]:
    """Answer every sample and return the tokens."""
    return {name: list(pipeline.generate(request).token_ids) for name, request in sample_requests().items()}


def main() -> None:
    """Write everything."""
    pipeline = Pipeline.load(EMBEDDED, device="cpu", dtype="float32")
    lines = [f"{json.dumps(name, ensure_ascii=False)}: {ids}" for name, ids in answer_ids(pipeline).items()]
    PINNED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
