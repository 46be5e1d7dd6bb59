"""Compare the speed of several questions with one model that remembers its callbacks.

python examples/performance_monitor.py [MODEL_PATH]
"""

import sys

from vita_demo import MemoryCallback, PerformanceCallback, VITAModelWithCallbacks, load_pretrained, prepare_inputs

REQUESTS = {
    "text": {"question": "What can you do?"},
    "picture": {"question": "Describe this image.", "image_path": "assets/scene.png"},
    "video": {"question": "What happens?", "video_path": "assets/moving.mp4"},
    "speech": {"audio_path": "assets/question.wav"},
}


def main(model_path: str = "embedded") -> None:
    """Print one line for each kind of input."""
    model, tokenizer = load_pretrained(model_path)
    wrapped = VITAModelWithCallbacks(model, tokenizer)
    performance, memory = PerformanceCallback(), MemoryCallback()
    wrapped.add_callback(performance)
    wrapped.add_callback(memory)
    for name, request in REQUESTS.items():
        wrapped.generate(**prepare_inputs(model, tokenizer, **request), max_new_tokens=32)
        print(f"{name:8} {performance.stats.describe()} · {memory.peak_bytes[0] / 1e6:.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
