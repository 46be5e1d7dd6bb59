"""What drawing costs: decode time with a live status line, against text alone and against nothing shown.

    python -m benchmarks.panels [--tokens 512] [--runs 15] [--threads 1]

Runs the embedded model into a pseudo-terminal that another process reads, interleaved, after a warm-up.  Prints the
10th percentile of the time per token and its ratios; the last line is JSON.
"""

import json
import os
import platform
import pty
import subprocess
import sys

import click

from benchmarks.measuring import fast


def measure(tokens: int, runs: int, threads: int) -> dict[str, list[float]]:
    """Return seconds per token of each run, drawn and not."""
    import torch

    from vita_demo import GenerationOptions, Pipeline, Request
    from vita_demo.callbacks.builtin import ProgressCallback
    from vita_demo.commands.run.answer_writer import AnswerWriter
    from vita_demo.console.display import Display
    from vita_demo.console.terminal import Place

    torch.set_num_threads(threads)
    pipeline = Pipeline.load(device="cpu", dtype="float32")
    request, options = Request(question="hi"), GenerationOptions(max_new_tokens=tokens)
    master, slave = pty.openpty()
    reader = subprocess.Popen(["cat"], stdin=master, stdout=subprocess.DEVNULL)
    terminal = os.fdopen(slave, "w", encoding="utf-8")
    times: dict[str, list[float]] = {"nothing": [], "text": [], "text and status": []}
    stdout = sys.stdout
    for number in range(runs + 1):
        for name, values in times.items():
            display = Display(terminal, Place.SAME if "status" in name else Place.ELSEWHERE)
            writer = AnswerWriter(display, "text" if name == "nothing" else "live")
            callbacks = [ProgressCallback(display=display)] if "status" in name else []
            sys.stdout = terminal
            for event in pipeline.stream(request, options, callbacks=callbacks):
                writer.event(event)
                if number and event.answer is not None and event.answer.stats.tpot_s is not None:
                    values.append(event.answer.stats.tpot_s)
            sys.stdout = stdout
    reader.kill()
    return times


@click.command()
@click.option("--tokens", default=512, show_default=True)
@click.option("--runs", default=15, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(tokens: int, runs: int, threads: int) -> None:
    """Measure what drawing costs per token."""
    times = measure(tokens, runs, threads)
    fastest = {name: fast(values) for name, values in times.items()}
    for name, value in fastest.items():
        print(f"{name:18}{value * 1e3:8.3f} ms a token")
    ratios = {
        "text against nothing": fastest["text"] / fastest["nothing"],
        "status against text": fastest["text and status"] / fastest["text"],
    }
    for name, ratio in ratios.items():
        print(f"{name:22}{ratio:6.3f}")
    host = {"platform": platform.platform(), "python": platform.python_version(), "threads": threads}
    print(json.dumps({"ratios": ratios, "tokens": tokens, "runs": runs, "host": host}))


if __name__ == "__main__":
    main()
