"""Pieces of the encoders against their definitions, written out naively."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from tests.model.fakes import randomize
from vita_demo.checkpoint.config import AudioConfig, VisionConfig, VitaConfig
from vita_demo.errors import ConfigError
from vita_demo.model.audio_encoder import Adapter, AudioEncoder, RelativeAttention, convolve_by_product, sinusoids
from vita_demo.model.vision_encoder import VisionEncoder, join_patches
from vita_demo.resources import resource


@pytest.fixture(scope="module")
def audio() -> AudioConfig:
    return AudioConfig.from_folder(resource("assets", "vita-tiny", "audio-encoder"))


@pytest.fixture(scope="module")
def vision() -> VisionConfig:
    return VisionConfig.from_folder(resource("assets", "vita-tiny", "InternViT-300M-448px"))


def test_joining_patches_keeps_neighbours_together() -> None:
    grid, width = 4, 3
    x = torch.arange(grid * grid * width, dtype=torch.float32).view(1, grid * grid, width)
    joined = join_patches(x, grid)
    at = x.view(grid, grid, width)
    for row in range(2):
        for column in range(2):
            block = [at[2 * row + dy, 2 * column + dx] for dy in (0, 1) for dx in (0, 1)]
            assert torch.equal(joined[0, row * 2 + column], torch.cat(block))


@torch.inference_mode()
def test_the_patch_embedding_is_its_convolution(vision: VisionConfig) -> None:
    embeddings = randomize(VisionEncoder(vision)).embeddings
    pixels = torch.randn(2, 3, vision.image_size, vision.image_size)
    convolved = embeddings.patch_embedding(pixels).flatten(2).mT  # [N, P, D]
    found = embeddings(pixels)[:, 1:] - embeddings.position_embedding[:, 1:]
    assert torch.allclose(found, convolved, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("conv", "shape"),
    [(torch.nn.Conv2d(3, 5, 3, 2), (2, 3, 21, 16)), (torch.nn.Conv1d(4, 6, 5, 2, bias=False), (2, 4, 18))],
)
@torch.inference_mode()
def test_a_convolution_as_a_product_is_the_convolution(conv: torch.nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    found, expected = convolve_by_product(conv, x), conv(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


@torch.inference_mode()
def test_tiles_do_not_see_each_other(vision: VisionConfig) -> None:
    encoder = randomize(VisionEncoder(vision))
    pixels = torch.randn(3, 3, vision.image_size, vision.image_size)
    together = encoder(pixels)
    assert together.shape == (3, vision.positions_per_tile, vision.feature_size)
    assert torch.allclose(together[1:2], encoder(pixels[1:2]), atol=1e-5)


@torch.inference_mode()
def test_one_attention_call_equals_the_two_score_terms(audio: AudioConfig) -> None:
    attention = randomize(RelativeAttention(audio))
    heads, head_dim = attention.pos_bias_u.shape
    x, positions = torch.randn(1, 9, audio.hidden_size), sinusoids(9, audio.hidden_size, torch.device("cpu"))

    def split(y: torch.Tensor) -> torch.Tensor:
        return y.view(9, heads, head_dim).transpose(0, 1)

    q, k, v = split(attention.linear_q(x)), split(attention.linear_k(x)), split(attention.linear_v(x))
    p = split(attention.linear_pos(positions))
    u, w = attention.pos_bias_u[:, None], attention.pos_bias_v[:, None]
    scores = ((q + u) @ k.mT + (q + w) @ p.mT) / head_dim**0.5
    expected = attention.linear_out((scores.softmax(-1) @ v).transpose(0, 1).reshape(1, 9, -1))
    assert torch.allclose(attention(x, positions), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("frames", [7, 8, 9, 10, 11, 12, 100, 352])
@torch.inference_mode()
def test_positions_are_predicted_exactly(audio: AudioConfig, frames: int) -> None:
    encoder = randomize(AudioEncoder(audio))
    assert encoder(torch.randn(1, frames, audio.num_mel_bins)).shape == (1, audio.positions(frames), audio.output_size)


VARIANTS = [
    {"adapter_norm": norm, "adapter_activation": activation, "concat_after": concat_after}
    for norm in ("layer", "batch")
    for activation in ("relu", "gelu")
    for concat_after in (False, True)
]


@torch.inference_mode()
def test_every_variant_of_train_yaml_computes_something_else_with_the_same_weights(audio: AudioConfig) -> None:
    weights = randomize(AudioEncoder(replace(audio, concat_after=True, adapter_norm="layer"))).state_dict()
    fbank = torch.randn(1, 40, audio.num_mel_bins, generator=torch.Generator().manual_seed(1))
    outputs = []
    for variant in VARIANTS:
        encoder = AudioEncoder(replace(audio, **variant)).eval()
        missing = encoder.load_state_dict(weights, strict=False).missing_keys
        assert all("bn2.running" in name or "num_batches" in name for name in missing)
        outputs.append(encoder(fbank))
    assert all(output.shape == (1, audio.positions(40), audio.output_size) for output in outputs)
    for (one, other), (name, other_name) in zip(combinations(outputs, 2), combinations(VARIANTS, 2), strict=True):
        assert float((one - other).abs().max()) > 0.01 * float(one.abs().max()), (name, other_name)


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@torch.inference_mode()
def test_the_adapter_is_a_convolution_a_norm_an_activation_and_a_projection(
    audio: AudioConfig, norm: str, activation: str
) -> None:
    adapter = randomize(Adapter(replace(audio, adapter_norm=norm, adapter_activation=activation)))
    x, bn2 = torch.randn(1, 9, audio.hidden_size), adapter.bn2
    padded = torch.cat([x, torch.zeros(1, audio.adapter_kernel_size - 1, audio.hidden_size)], dim=1)
    windows = padded.unfold(1, audio.adapter_kernel_size, 2)  # [1, T/2, D, kernel]
    joined = torch.einsum("ntdk,odk->nto", windows, adapter.conv1d2.weight) + adapter.conv1d2.bias
    if norm == "batch":
        bn2.running_var.abs_()
        mean, variance = bn2.running_mean, bn2.running_var
    else:
        mean, variance = joined.mean(-1, keepdim=True), joined.var(-1, keepdim=True, correction=0)
    normed = (joined - mean) / (variance + 1e-3).sqrt() * bn2.weight + bn2.bias
    expected = adapter.project(getattr(torch.nn.functional, activation)(normed))
    assert torch.allclose(adapter(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("change", [{"output_size": 1000}, {"adapter_norm": "none"}, {"adapter_activation": "tanh"}])
def test_adapters_that_are_not_implemented_are_refused(audio: AudioConfig, change: dict) -> None:
    with pytest.raises(ConfigError, match="not implement"):
        Adapter(replace(audio, **change))


def test_framecat_joins_five_tiles_and_fills_the_last_group() -> None:
    from vita_demo.model.vita import VitaModel

    config = VitaConfig.from_pretrained(resource("assets", "vita-tiny"))
    model = randomize(VitaModel(replace(config, mm_hidden_size=5 * config.vision.feature_size)))
    pixels = torch.randn(7, 3, 128, 128)
    features = model.encode_images(pixels)
    assert features.shape == (2, 16, config.text.hidden_size)
    assert torch.allclose(features[0], model.encode_images(pixels[:5])[0], rtol=1e-4, atol=1e-3)
    swapped = model.encode_images(pixels[[1, 0, 2, 3, 4]])
    assert not torch.allclose(features[0], swapped[0], atol=1e-2)
