"""Write a caption for every picture of a folder, one JSON line each, several at once.

python examples/caption_folder.py FOLDER [MODEL_PATH]
"""

import json
import sys
from pathlib import Path

from vita_demo import GenerationOptions, Pipeline, Request, VitaDemoError

PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def say(path: Path, **values: str) -> None:
    """Print one line."""
    print(json.dumps({"file": path.name, **values}, ensure_ascii=False), flush=True)


def main(folder: str = "assets", model_path: str = "embedded") -> None:
    """Print a line for each picture as it is finished; one that cannot be read costs its own line only."""
    pipeline, requests = Pipeline.load(model_path), []
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in PICTURES):
        try:
            requests.append(Request(question="Describe this image.", image_paths=(path,)))
        except VitaDemoError as error:
            say(path, error=str(error))
    for number, event in pipeline.stream_many(requests, GenerationOptions(max_new_tokens=32)):
        if event.finish_reason is not None:
            path = requests[number].image_paths[0]
            say(path, caption=event.answer.text) if event.answer else say(path, error=str(event.error))


if __name__ == "__main__":
    main(*sys.argv[1:])
