"""Stop the answer at the end of its first sentence.

python examples/first_sentence.py [QUESTION] [PICTURE] [MODEL_PATH]
"""

import sys
from pathlib import Path
from typing import Any

from vita_demo import GenerationCallback, GenerationControl, Pipeline, Request


class FirstSentence(GenerationCallback):
    """Asks for a stop once a sentence has ended."""

    def __init__(self, ends: str = ".!?。！？") -> None:
        self.ends = ends

    def on_token_generated(
        self,
        token_id: int,
        token_text: str,
        step: int,
        **kwargs: Any,
    ) -> GenerationControl | None:
        return GenerationControl.STOP if any(end in token_text for end in self.ends) else None


def main(
    question: str = "Describe this image.", picture: str = "assets/scene.png", model_path: str = "embedded"
) -> None:
    """Print the first sentence."""
    request = Request(question=question, image_paths=(Path(picture),))
    answer = Pipeline.load(model_path).generate(request, callbacks=[FirstSentence()])
    print(answer.text)


if __name__ == "__main__":
    main(*sys.argv[1:])
