"""Command line: build the miniature from seeds, or examine it."""

from pathlib import Path

import click

from vita_demo.errors import VitaDemoError

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_OUT = ROOT / "assets" / "vita-tiny"


@click.group(help=__doc__)
def main() -> None:
    """Gather the commands."""


@main.command()
@click.option("--work_folder", type=click.Path(path_type=Path), default=Path("vita-tiny-work"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True)
def build(work_folder: Path, out: Path) -> None:
    """Draw, record, teach, and write the checkpoint. Goes on where it stopped: see README.md in this folder."""
    from tools.train_vita_tiny import build as stages

    _check_materials()
    work_folder.mkdir(parents=True, exist_ok=True)
    stages.build(work_folder, out)


@main.command()
@click.option("--model_path", type=click.Path(path_type=Path, exists=True), default=DEFAULT_OUT, show_default=True)
@click.option("--count", default=500, show_default=True, help="Questions of each kind.")
@click.option("--seed", default=2025, show_default=True)
@click.option("--only", multiple=True, help="Part of a row's name; may be repeated.")
@click.option("--mistakes", is_flag=True, help="Show what was answered wrong.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the tables of the model card to this file.")
def evaluate(
    model_path: Path, count: int, seed: int, only: tuple[str, ...], mistakes: bool, markdown: Path | None
) -> None:
    """Examine the model on what it was not trained on, and print a table."""
    from tools.train_vita_tiny import table
    from tools.train_vita_tiny.evaluation import examine

    if not only:
        _check_materials()
    results = list(examine(model_path, count, seed, only))
    table.show(results, mistakes)
    if markdown:
        markdown.write_text(table.markdown(results) + "\n", encoding="utf-8")


@main.command()
@click.option("--model_path", type=click.Path(path_type=Path, exists=True), default=DEFAULT_OUT, show_default=True)
@click.option("--count", default=60, show_default=True, help="Questions a setting.")
@click.option("--seed", default=2025, show_default=True)
@click.option("--chart", "picture", type=click.Path(path_type=Path), help="Draw the result into this SVG or PNG file.")
def factors(model_path: Path, count: int, seed: int, picture: Path | None) -> None:
    """Change one thing of a plain picture at a time, and tell where the model stops to understand it."""
    import numpy as np

    from tools.train_vita_tiny.evaluation import Candidate
    from tools.train_vita_tiny.factors import chart, measure

    shares = measure(Candidate(model_path), np.random.default_rng(seed), count, print)
    if picture:
        chart(shares, picture)


def _check_materials() -> None:
    """Fail now rather than after minutes, where there are no photographs, no voices or no Skia."""
    import importlib.util
    import shutil

    from tools.train_vita_tiny.espeak import Espeak
    from tools.train_vita_tiny.photographs import folder
    from tools.train_vita_tiny.voices import FLITE_MISSING

    folder()
    Espeak()
    if shutil.which("flite") is None:
        raise VitaDemoError(FLITE_MISSING)
    for module, package in (("skia", "skia-python"), ("matplotlib", "matplotlib")):
        if importlib.util.find_spec(module) is None:
            raise VitaDemoError(f"{package} is not installed; pictures are drawn with it: pip install {package}")


if __name__ == "__main__":
    try:
        main()
    except VitaDemoError as error:
        raise SystemExit(f"error: {error}") from None
