"""The miniature's settings as training writes them, with the tokenizer and the sound's mean that are shipped."""

import json
import shutil
from pathlib import Path

import pytest

from tools.train_vita_tiny.layout import write_settings
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.resources import resource


@pytest.fixture(scope="session")
def tokenizer() -> VitaTokenizer:
    return VitaTokenizer.from_pretrained(resource("assets", "vita-tiny"))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: VitaTokenizer) -> Path:
    folder, shipped = tmp_path_factory.mktemp("model"), resource("assets", "vita-tiny")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(shipped / name, folder)
    write_settings(folder, len(tokenizer), json.loads((shipped / "audio-encoder" / "global_cmvn").read_text()))
    return folder
