"""Watch an answer with callbacks.

python examples/enhanced_demo.py [PICTURE] [QUESTION] [MODEL_PATH]
"""

import logging
import sys
from typing import Any

from vita_demo import (
    GenerationCallback,
    PerformanceCallback,
    ProgressCallback,
    generate_with_callbacks,
    load_pretrained,
    prepare_inputs,
)


class Printer(GenerationCallback):
    """Prints each piece of text as soon as it is certain."""

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        print(token_text, end="", flush=True)

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        print(f"\n[{len(output_ids)} tokens, finished by {kwargs['finish_reason']}]")


def main(
    picture: str = "assets/scene.png", question: str = "Describe this image.", model_path: str = "embedded"
) -> None:
    """Load, ask, watch."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model, tokenizer = load_pretrained(model_path)
    inputs = prepare_inputs(model, tokenizer, question, image_path=picture)
    callbacks = [Printer(), ProgressCallback(max_tokens=64), PerformanceCallback()]
    generate_with_callbacks(model, tokenizer, **inputs, callbacks=callbacks, max_new_tokens=64)


if __name__ == "__main__":
    main(*sys.argv[1:])
