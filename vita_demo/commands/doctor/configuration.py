"""Checks config.json, the encoders' settings and the tokenizer by reading them as loading does."""

from pathlib import Path

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.source import ModelSource
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.commands.doctor.files import TOKENIZER_FILES
from vita_demo.commands.doctor.finding import Finding
from vita_demo.commands.doctor.folder import fetch_command
from vita_demo.commands.doctor.memory import count_parameters
from vita_demo.errors import VitaDemoError

GROUP = "Settings"


def check_config(findings: list[Finding], folder: Path, source: ModelSource) -> VitaConfig | None:
    """Return the settings; None when they are unusable, or missing, which ``check_small_files`` reports."""
    if not (folder / "config.json").is_file():
        return None
    try:
        config = VitaConfig.from_pretrained(folder, source.vision_tower, source.audio_encoder)
        count_parameters(config)
    except VitaDemoError as error:
        findings.append(Finding.from_error(GROUP, error))
        return None
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        text = f"the values in {folder / 'config.json'} define no valid model ({' '.join(str(error).split())})"
        findings.append(Finding(GROUP, "problem", text, fetch_command(source, folder, "config.json", again=True)))
        return None
    language = config.text
    layers = f"{language.num_hidden_layers} layers of width {language.hidden_size:,}"
    context = f"{language.max_position_embeddings:,} positions (trained with {config.trained_positions:,})"
    findings.append(Finding(GROUP, "ok", f"VITA-1.5: {layers}, {context}, stored as {config.torch_dtype}"))
    findings += [Finding(GROUP, "ok", note) for note in config.settings_notes]
    return config


def check_tokenizer(findings: list[Finding], folder: Path, source: ModelSource) -> int | None:
    """Return the size of the vocabulary; None when the tokenizer is unusable, or has a missing file.

    ``check_small_files`` reports missing files.
    """
    complete = (folder / "tokenizer.json").is_file() or all((folder / name).is_file() for name in TOKENIZER_FILES)
    if not complete:
        return None
    try:
        tokenizer = VitaTokenizer.from_pretrained(folder)
    except VitaDemoError as error:
        findings.append(Finding.from_error(GROUP, error))
        return None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        text = f"{folder / 'tokenizer_config.json'} has a value of the wrong type ({error})"
        command = fetch_command(source, folder, "tokenizer_config.json", again=True)
        findings.append(Finding(GROUP, "problem", text, command))
        return None
    if tokenizer.stop_ids:
        findings.append(Finding(GROUP, "ok", f"tokenizer: {len(tokenizer):,} tokens"))
    else:
        text = "the tokenizer has neither <|im_end|> nor <|endoftext|>, so answers would end only at --max_new_tokens"
        findings.append(Finding(GROUP, "note", text, "copy the tokenizer's files of the released checkpoint"))
    return len(tokenizer)
