"""The model's hyper-parameters, read from the JSON and YAML files of a checkpoint in the released VITA-1.5 layout.

Loads no weights and imports no torch.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vita_demo.checkpoint.encoder_settings import EncoderSettings, find_encoder_settings
from vita_demo.errors import CheckpointError

AUDIO_MAX_POSITIONS = 5000


@dataclass(frozen=True)
class VisionConfig:
    """InternViT and its preprocessing."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float
    qkv_bias: bool
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    @property
    def grid_size(self) -> int:
        """Patches along one side of a tile."""
        return self.image_size // self.patch_size

    @property
    def positions_per_tile(self) -> int:
        """Language-model positions of one tile, after the 2 × 2 pixel shuffle."""
        return (self.grid_size // 2) ** 2

    @property
    def feature_size(self) -> int:
        """Width of the features that leave the encoder, after the 2 × 2 pixel shuffle."""
        return 4 * self.hidden_size

    @property
    def mean_colour(self) -> tuple[int, int, int]:
        """The mean as an 8-bit RGB colour, rounded down as the original demo does."""
        red, green, blue = self.image_mean
        return int(red * 255), int(green * 255), int(blue * 255)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read ``config.json`` and ``preprocessor_config.json`` of an InternViT folder."""
        settings, pixels = read_json(folder / "config.json"), read_json(folder / "preprocessor_config.json")
        _require(settings, folder / "config.json", norm_type="layer_norm", qk_normalization=False, hidden_act="gelu")
        keys = tuple(name for name in cls.__dataclass_fields__ if name not in ("image_mean", "image_std"))
        return cls(
            **_pick(settings, keys, folder / "config.json"),
            image_mean=tuple(pixels.get("image_mean", (0.485, 0.456, 0.406))),
            image_std=tuple(pixels.get("image_std", (0.229, 0.224, 0.225))),
        )


@dataclass(frozen=True)
class AudioConfig:
    """The "whale" audio encoder, its adapter and its preprocessing."""

    num_mel_bins: int
    frame_length_ms: float
    frame_shift_ms: float
    sample_rate_hz: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    concat_after: bool
    adapter_kernel_size: int
    adapter_norm: str
    adapter_activation: str
    output_size: int

    @staticmethod
    def positions(frames: int) -> int:
        """Language-model positions of a clip of ``frames`` filter-bank frames."""
        return len(range(frames)[2::2][2::2][0::2])

    @property
    def max_frames(self) -> int:
        """The most filter-bank frames that the encoder's 5,000 positions cover."""
        return 4 * AUDIO_MAX_POSITIONS + 6

    @property
    def max_s(self) -> float:
        """Seconds of sound that make ``max_frames``."""
        return ((self.max_frames - 1) * self.frame_shift_ms + self.frame_length_ms) / 1000

    @property
    def min_s(self) -> float:
        """Seconds of sound that make the seven frames which the two convolutions need."""
        return (6 * self.frame_shift_ms + self.frame_length_ms) / 1000

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read ``train.yaml`` of an audio encoder folder."""
        path = folder / "train.yaml"
        settings = _read_yaml(path)
        try:
            layers, model = settings["encoder_conf"]["para_conf"]["transformer"], settings["model_conf"]
            bank, resample = settings["dataset_conf"]["fbank_conf"], settings["dataset_conf"]["resample_conf"]
            _require(layers, path, **{"transformer-normalize-before": True, "transformer-input-layer": "linear",
                                      "transformer-pos-enc-class": "rel-enc"})  # fmt: skip
            _require(model, path, adpter_type="subsampling")
            return cls(
                num_mel_bins=bank["num_mel_bins"],
                frame_length_ms=bank["frame_length"],
                frame_shift_ms=bank["frame_shift"],
                sample_rate_hz=resample["resample_rate"],
                hidden_size=layers["transformer-output-dim"],
                intermediate_size=layers["transformer-linear-units"],
                num_hidden_layers=layers["transformer-num-blocks"],
                num_attention_heads=layers["transformer-attention-heads"],
                concat_after=layers["transformer-concat-after"],
                adapter_kernel_size=model["kernel_size"],
                adapter_norm=model["norm"],
                adapter_activation=model["activation_func"],
                output_size=model["llm_embed_dim"],
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} has no setting {error}; take the file of the released checkpoint") from error


@dataclass(frozen=True)
class TextConfig:
    """The Qwen2 language model."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float
    rms_norm_eps: float
    tie_word_embeddings: bool

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], path: Path) -> Self:
        """Read the language model's values of ``config.json``, as transformers 4 or 5 writes them."""
        settings = _with_rope_theta(settings, path)
        _require(settings, path, hidden_act="silu", use_sliding_window=False)
        keys = tuple(name for name in cls.__dataclass_fields__ if name != "tie_word_embeddings")
        return cls(**_pick(settings, keys, path), tie_word_embeddings=settings.get("tie_word_embeddings", False))


@dataclass(frozen=True)
class VitaConfig:
    """All settings of one checkpoint.

    Attributes:
        mm_hidden_size: width of the projector's input.
        image_aspect_ratio: "pad" pads video frames to a square, anything else crops them.
        trained_positions: longest prompt in training (``tokenizer_model_max_length``).
        torch_dtype: name of the checkpoint's dtype.
        stop_token_ids: ids that end an answer, from ``config.json`` and ``generation_config.json``.
        generation_defaults: content of ``generation_config.json``, empty without one.
        settings_notes: for each encoder, which settings are used and why.
    """

    text: TextConfig
    vision: VisionConfig
    audio: AudioConfig
    mm_hidden_size: int
    image_aspect_ratio: str
    trained_positions: int
    torch_dtype: str
    stop_token_ids: tuple[int, ...] = ()
    generation_defaults: Mapping[str, Any] = field(default_factory=dict)
    settings_notes: tuple[str, ...] = ()

    @property
    def tiles_per_feature(self) -> int:
        """Tiles per input of the projector: 1, or 5 in a frameCat checkpoint."""
        return self.mm_hidden_size // self.vision.feature_size

    @property
    def pad_colour(self) -> tuple[int, int, int] | None:
        """Colour that pads video frames to a square; None if they are cropped instead."""
        return self.vision.mean_colour if self.image_aspect_ratio == "pad" else None

    @classmethod
    def from_pretrained(cls, folder: Path, vision_tower: Path | None = None, audio_encoder: Path | None = None) -> Self:
        """Read ``config.json`` and the settings of both encoders; see ``find_encoder_settings``.

        Args:
            folder: a checkpoint in the released layout.
            vision_tower: folder of the vision encoder's settings; None searches for them.
            audio_encoder: the same for the audio encoder.

        Raises:
            CheckpointError: when a file is missing or unreadable, or this is another model.
        """
        path = folder / "config.json"
        settings = read_json(path)
        _check_architecture(settings, path)
        file = folder / "generation_config.json"
        defaults = read_json(file) if file.exists() else {}
        vision = find_encoder_settings("vision", settings.get("mm_vision_tower"), folder, vision_tower)
        audio = find_encoder_settings("audio", settings.get("mm_audio_encoder"), folder, audio_encoder)
        return cls(
            text=TextConfig.from_dict(settings, path),
            vision=VisionConfig.from_folder(vision.folder),
            audio=AudioConfig.from_folder(audio.folder),
            mm_hidden_size=_pick(settings, ("mm_hidden_size",), path)["mm_hidden_size"],
            image_aspect_ratio=settings.get("image_aspect_ratio", "square"),
            trained_positions=settings.get("tokenizer_model_max_length", 6200),
            torch_dtype=settings.get("torch_dtype") or settings.get("dtype") or "bfloat16",
            stop_token_ids=_ids(settings.get("eos_token_id")) + _ids(defaults.get("eos_token_id")),
            generation_defaults=defaults,
            settings_notes=(_note(vision), _note(audio)),
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: when the file is missing or holds no JSON object.
    """
    return _read_object(path, json.loads, ValueError, "give the folder of a whole VITA-1.5 checkpoint")


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    return _read_object(path, yaml.safe_load, yaml.YAMLError, "give its folder with --audio_encoder")


def _read_object(path: Path, parse: Callable[[str], Any], parse_error: type[Exception], advice: str) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; {advice}") from None
    except (OSError, UnicodeDecodeError, parse_error) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no object with named values; download it again")
    return content


def _check_architecture(settings: Mapping[str, Any], path: Path) -> None:
    architecture = (settings.get("architectures") or [settings.get("model_type", "nothing named")])[0]
    if architecture == "VITAQwen2ForCausalLM":
        return
    kind = {
        "VITAMixtralForCausalLM": "VITA-1.0 (Mixtral)",
        "Qwen2ForCausalLM": "a plain Qwen2 without the vision and audio encoders",
    }.get(architecture, "another model")
    raise CheckpointError(
        f"{path} describes {architecture}, {kind}; this demo runs VITA-1.5 (VITAQwen2ForCausalLM), "
        "for example --model_path VITA-MLLM/VITA-1.5"
    )


def _with_rope_theta(settings: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return settings with ``rope_theta``, which transformers 5 keeps in ``rope_parameters``; other rotations fail."""
    for key in ("rope_scaling", "rope_parameters"):
        rope = settings.get(key)
        kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else rope
        if kind not in (None, "default"):
            raise CheckpointError(f"{path} sets {key} to {rope!r}; this package implements only the default rotation")
        if isinstance(rope, Mapping) and "rope_theta" in rope:
            settings = {"rope_theta": rope["rope_theta"], **settings}
    return settings


def _pick(settings: Mapping[str, Any], keys: tuple[str, ...], path: Path) -> dict[str, Any]:
    missing = [key for key in keys if key not in settings]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; take the file of the released checkpoint")
    return {key: settings[key] for key in keys}


def _require(settings: Mapping[str, Any], path: Path, **expected: Any) -> None:
    for key, value in expected.items():
        if settings.get(key, value) != value:
            raise CheckpointError(f"{path} sets {key} to {settings[key]!r}; this package implements only {value!r}")


def _ids(value: int | list[int] | None) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else () if value is None else (value,)


def _note(settings: EncoderSettings) -> str:
    return f"{settings.kind} settings: {settings.folder} ({settings.reason})"
