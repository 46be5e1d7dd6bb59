"""Write a caption for every picture of a folder, one JSON line each.

python examples/caption_folder.py FOLDER [MODEL_PATH]
"""

import json
import sys
from pathlib import Path

from vita_demo import GenerationOptions, Pipeline, Request, VitaDemoError

PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def main(folder: str = "assets", model_path: str = "embedded") -> None:
    """Print a line for each picture; one that cannot be read costs its own line only."""
    pipeline = Pipeline.load(model_path)
    options = GenerationOptions(max_new_tokens=32)
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in PICTURES):
        try:
            answer = pipeline.generate(Request(question="Describe this image.", image_paths=(path,)), options)
            line = {"file": path.name, "caption": answer.text}
        except VitaDemoError as error:
            line = {"file": path.name, "error": str(error)}
        print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
