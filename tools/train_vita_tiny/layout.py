"""The miniature's files in the released layout: settings, tokenizer, and a model with fresh weights."""

import json
import math
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
import yaml
from tokenizers import models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.special_tokens import STATE_TOKENS
from vita_demo.checkpoint.tokenizer import byte_level_bpe
from vita_demo.model.vita import VitaModel

ROOT = Path(__file__).resolve().parents[2]
RELEASED_SETTINGS = ROOT / "configs" / "vita15"
QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
MERGED_VOCAB_SIZE = 1280
TILE = 128
PATCH = 16
# Positions along one side of a tile, after the 2 × 2 pixel shuffle.
GRID = TILE // PATCH // 2
_HAN = re.compile("([\u4e00-\u9fff])")
TEXT_SIZES = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6,
    "num_key_value_heads": 3, "max_window_layers": 6, "tokenizer_model_max_length": 1024,
}  # fmt: skip
VISION_SIZES = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "patch_size": PATCH,
}
AUDIO_WIDTH = 128
AUDIO_SIZES = {
    "input-dim": AUDIO_WIDTH, "attention-dim": AUDIO_WIDTH, "output-dim": AUDIO_WIDTH, "attention-heads": 4,
    "linear-units": 512, "num-blocks": 4,
}  # fmt: skip


def write_tokenizer(folder: Path, corpus: Iterable[str]) -> int:
    """Train byte-level BPE on ``corpus`` and write its files; return the number of tokens, special ones included.

    Chinese characters are learned one by one, so that a new wording is a new order of known tokens.
    """
    backend = byte_level_bpe(models.BPE(), {})
    trainer = trainers.BpeTrainer(
        vocab_size=MERGED_VOCAB_SIZE, initial_alphabet=ByteLevel.alphabet(), show_progress=False, min_frequency=2
    )
    pieces = (piece for text in corpus for piece in _HAN.split(text) if piece)
    backend.train_from_iterator(pieces, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    backend.model.save(str(folder))
    size = backend.get_vocab_size()
    added = {
        str(size + number): {"content": token, "special": token in QWEN_SPECIAL}
        for number, token in enumerate((*QWEN_SPECIAL, *STATE_TOKENS))
    }
    settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
                "added_tokens_decoder": added}  # fmt: skip
    write_json(folder / "tokenizer_config.json", settings)
    return size + len(added)


def write_settings(folder: Path, vocab_size: int, cmvn: dict[str, object]) -> None:
    """Derive the miniature's settings from the released model's, with small dimensions.

    Args:
        folder: where they go.
        vocab_size: tokens, special ones included.
        cmvn: the content of ``global_cmvn``: sums over the mel bins of the training sound.
    """
    first = vocab_size - len(QWEN_SPECIAL) - len(STATE_TOKENS)
    text = json.loads((RELEASED_SETTINGS / "config.json").read_text())
    text.update(TEXT_SIZES, vocab_size=vocab_size, mm_hidden_size=4 * VISION_SIZES["hidden_size"],
                image_aspect_ratio="pad", mm_vision_tower="InternViT-300M-448px", mm_audio_encoder="audio-encoder",
                torch_dtype="float16", bos_token_id=first, eos_token_id=first + 2)  # fmt: skip
    write_json(folder / "config.json", text)
    vision, audio = folder / "InternViT-300M-448px", folder / "audio-encoder"
    for part in (vision, audio):
        shutil.copytree(RELEASED_SETTINGS / part.name, part, dirs_exist_ok=True)
    small = json.loads((vision / "config.json").read_text())
    write_json(vision / "config.json", {**small, **VISION_SIZES, "image_size": TILE})
    pixels = json.loads((vision / "preprocessor_config.json").read_text())
    write_json(vision / "preprocessor_config.json", {**pixels, "crop_size": TILE, "size": TILE})
    write_json(audio / "global_cmvn", cmvn)
    train = yaml.safe_load((audio / "train.yaml").read_text())
    train["dataset_conf"]["fbank_conf"]["dither"] = 0.0
    encoder = train["encoder_conf"]
    encoder["overview_conf"]["encoder-output-dim"] = AUDIO_WIDTH
    encoder["para_conf"]["subsampling"]["subsampling-output-dim"] = AUDIO_WIDTH
    encoder["para_conf"]["transformer"].update({f"transformer-{key}": size for key, size in AUDIO_SIZES.items()})
    train["model_conf"].update(enc_out_dim=AUDIO_WIDTH, llm_embed_dim=TEXT_SIZES["hidden_size"])
    (audio / "train.yaml").write_text(yaml.safe_dump(train))


def write_json(path: Path, content: object) -> None:
    """Write indented JSON with a final newline."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def fresh_model(folder: Path) -> VitaModel:
    """Build the model that the settings in ``folder`` describe, with weights drawn from torch's generator."""
    model = VitaModel(VitaConfig.from_pretrained(folder)).float()
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            _draw(name, parameter)
    stats = json.loads((folder / "audio-encoder" / "global_cmvn").read_text())
    mean = torch.tensor(stats["mean_stat"]) / stats["frame_num"]
    model.audio_encoder.cmvn.mean.copy_(mean)
    variance = torch.tensor(stats["var_stat"]) / stats["frame_num"] - mean**2
    model.audio_encoder.cmvn.istd.copy_(variance.rsqrt())
    return model


def _draw(name: str, parameter: nn.Parameter) -> None:
    """Ones for norms and scales, zeros for biases, normal numbers by fan-in for matrices."""
    if "bias" in name:
        parameter.zero_()
    elif name.endswith(("class_embedding", "position_embedding")) or "embed_tokens" in name:
        # Where a patch is must be as plain as what is on it: with 0.02 the eyes learn places several times more slowly.
        parameter.normal_(std=1.0 if name.endswith("position_embedding") else 0.05)
    elif parameter.dim() == 1:
        parameter.fill_(1.0)
    else:
        residual = name.endswith(("o_proj.weight", "down_proj.weight", "projector.2.weight"))
        parameter.normal_(std=(0.3 if residual else 0.9) / math.sqrt(parameter[0].numel()))
