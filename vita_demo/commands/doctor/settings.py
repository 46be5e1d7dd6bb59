"""Do the checkpoint's settings and its tokenizer make sense, and which encoder settings are used?"""

from collections.abc import Generator
from pathlib import Path

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.commands.doctor.files import TOKENIZER_FILES
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.memory import count_parameters
from vita_demo.commands.doctor.source import Source
from vita_demo.errors import VitaDemoError

GROUP = "Settings"


def check_settings(folder: Path, source: Source) -> Generator[Finding, None, VitaConfig | None]:
    """Read the settings as loading would; return them, or None when they cannot be used.

    That ``config.json`` is missing was told with the files.
    """
    if not (folder / "config.json").is_file():
        return None
    try:
        config = VitaConfig.from_pretrained(folder, source.vision_tower, source.audio_encoder)
        count_parameters(config)
    except VitaDemoError as error:
        yield Finding.from_error(GROUP, error)
        return None
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        text = f"the values in {folder / 'config.json'} make no model ({' '.join(str(error).split())})"
        yield Finding(GROUP, "problem", text, source.fetch(folder, "config.json", again=True))
        return None
    language = config.text
    layers = f"{language.num_hidden_layers} layers of width {language.hidden_size:,}"
    reach = f"{language.max_position_embeddings:,} positions (trained with {config.trained_positions:,})"
    yield Finding(GROUP, "ok", f"VITA-1.5: {layers}, {reach}, stored as {config.torch_dtype}")
    for note in config.settings_notes:
        yield Finding(GROUP, "ok", note)
    return config


def check_tokenizer(folder: Path, source: Source) -> Generator[Finding, None, int | None]:
    """Read the tokenizer; return its number of tokens, or None when it cannot be used.

    That a file is missing was told with the files.
    """
    whole = (folder / "tokenizer.json").is_file() or all((folder / name).is_file() for name in TOKENIZER_FILES)
    if not whole:
        return None
    from vita_demo.checkpoint.tokenizer import VitaTokenizer

    try:
        tokenizer = VitaTokenizer.from_pretrained(folder)
    except VitaDemoError as error:
        yield Finding.from_error(GROUP, error)
        return None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        text = f"{folder / 'tokenizer_config.json'} holds a value of the wrong kind ({error})"
        yield Finding(GROUP, "problem", text, source.fetch(folder, "tokenizer_config.json", again=True))
        return None
    if tokenizer.stop_ids:
        yield Finding(GROUP, "ok", f"tokenizer: {len(tokenizer):,} tokens")
    else:
        text = "the tokenizer has no <|im_end|> and no <|endoftext|>, so no answer would end before its length"
        yield Finding(GROUP, "note", text, "copy the tokenizer's files of the released checkpoint")
    return len(tokenizer)
