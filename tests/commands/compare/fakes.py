"""Invented comparisons, with times that a reader can check in their head."""

from vita_demo.answer import Answer
from vita_demo.commands.compare.record import Comparison, ModeResult
from vita_demo.metrics import RunStats


def make_run(total_s: float, token_ids: tuple[int, ...] = (5, 6, 7), text: str = "a b c") -> Answer:
    """A run of three tokens with even gaps: the first after half of the time, the last at the end."""
    stats = RunStats(
        stages={"load": 9.0, "media": 0.1 * total_s, "prefill": 0.4 * total_s, "decode": 0.5 * total_s},
        prompt_positions=10,
        tokens=3,
        ttft_s=0.5 * total_s,
        ttft_model_s=0.4 * total_s,
        ttft_text_s=None,
        total_s=total_s,
        token_gaps_s=[0.25 * total_s] * 2,
        peak_memory_bytes=1000,
    )
    return Answer(text, token_ids, "length", stats=stats)


def make_comparison(**times_s: tuple[float, ...]) -> Comparison:
    """A comparison of modes whose runs take these total times."""
    return Comparison(
        request={
            "question": "What <b>is</b> this?",
            "image_paths": ["folder/a&b.png"],
            "video_path": None,
            "audio_path": None,
        },
        options={"do_sample": False, "seed": None},
        model={"path": "somewhere", "parameters": 10**6, "dtype": "float32", "device": "cpu"},
        host={"platform": "Linux", "processor": "x", "cores": 2, "threads": 2, "load_average": 0.0},
        versions={"vita-demo": "0"},
        modes=tuple(ModeResult(name, tuple(map(make_run, times))) for name, times in times_s.items()),
    )
