"""Equality with the original code, stage by stage, on every reference case."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.golden import CASES, REAL_CASES, golden_request, load_golden
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import RunRecorder
from vita_demo.preprocess.media import load_media
from vita_demo.prompt import build_prompt
from vita_demo.request import Request

REAL_MEDIA = os.environ.get("VITA_DEMO_REFERENCE_MEDIA")
ALL = [*CASES] + [
    pytest.param(name, marks=pytest.mark.skipif(not REAL_MEDIA, reason="VITA_DEMO_REFERENCE_MEDIA is not set"))
    for name in REAL_CASES
]


def relative(actual: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference over the largest expected value."""
    return float(np.abs(actual.numpy() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", ALL)
def test_every_stage_agrees_with_the_original(name: str, tiny7_pipeline, reference_media: Path) -> None:
    golden = load_golden(name)
    request = golden_request(name, Path(REAL_MEDIA) if name in REAL_CASES else reference_media)
    model, config = tiny7_pipeline.model, tiny7_pipeline.settings.config
    media = load_media(request, config)
    inputs = tiny7_pipeline.prepare(request, media, RunRecorder())

    ids = inputs.input_ids
    images, sounds = ids.count(IMAGE_TOKEN_ID), ids.count(AUDIO_TOKEN_ID)
    prompt = build_prompt(request.question, tiny7_pipeline.tokenizer.encode, media.modality, images, sounds > 0)
    assert prompt.text == str(golden["prompt"])
    assert list(ids) == golden["input_ids"].tolist()
    assert list(inputs.embeds.shape) == golden["embeds_shape"].tolist()
    assert relative(inputs.embeds[0].norm(dim=-1), golden["embeds_norm"]) < 1e-4

    if "n_tiles" in golden:
        pixels = model.vision_encoder.normalize(torch.from_numpy(media.tiles))
        assert len(pixels) == golden["n_tiles"]
        assert np.array_equal(pixels[:, :, 200:208, 200:208].numpy(), golden["pixel_patch"])
        np.testing.assert_allclose(pixels.mean(dim=(2, 3)), golden["pixel_mean"], atol=1e-5)
        np.testing.assert_allclose(pixels.std(dim=(2, 3)), golden["pixel_std"], atol=1e-4)
        features = model.encode_images(pixels)
        assert relative(features[:, ::32], golden["image_features"]) < 1e-5
        assert relative(features.norm(dim=-1), golden["image_features_norm"]) < 1e-5

    if "audio_tokens" in golden:
        assert inputs.summary.audio_tokens == golden["audio_tokens"]
        assert media.fbank.shape == tuple(golden["fbank_shape"])
        assert np.abs(media.fbank[::8] - golden["fbank"]).max() < 2e-3
        assert relative(model.encode_audio(media.fbank), golden["audio_embeds"]) < 1e-4

    logits = model.decoder(inputs.summary.tokens).prefill(inputs.embeds)[0]
    # Sound comes through another FFT than the original's, and its rounding reaches the logits.
    tolerance = 2e-5 if "audio_tokens" in golden else 1e-5
    assert relative(logits[golden["top_ids"].astype(int)], golden["top_logits"]) < tolerance

    options = GenerationOptions(max_new_tokens=32)
    assert list(tiny7_pipeline.generate(request, options).token_ids) == golden["tokens"].tolist()


def test_two_threads_give_the_golden_tokens_too(tiny7_pipeline, reference_media: Path) -> None:
    torch.set_num_threads(2)
    answer = tiny7_pipeline.generate(
        golden_request("frames_audio", reference_media), GenerationOptions(max_new_tokens=32)
    )
    assert list(answer.token_ids) == load_golden("frames_audio")["tokens"].tolist()


def test_the_full_size_model_has_the_published_parameter_counts() -> None:
    from vita_demo.checkpoint.config import VitaConfig
    from vita_demo.model.vita import VitaModel
    from vita_demo.resources import resource

    with torch.device("meta"):
        model = VitaModel(VitaConfig.from_pretrained(resource("configs", "vita15")))
    count = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_modules()}
    assert count["vision_encoder"] == 304_012_288
    assert count["audio_encoder"] - count["audio_encoder.adapter"] == 357_950_464
    assert count["audio_encoder.adapter"] == 17_835_520
    assert count["projector"] == 27_532_288
    assert count["language_model"] == 7_615_616_512


def test_the_command_line_prints_the_golden_tokens(vita, tiny7: Path, reference_media: Path) -> None:
    golden = load_golden("image_audio")
    run = vita(
        *("--model_path", tiny7, "--image_path", reference_media / "wide.png"),
        *("--audio_path", reference_media / "short.wav"),
        *("--dtype", "float32", "--device", "cpu", "--max_new_tokens", 32, "--json"),
    )
    assert run.code == 0
    assert run.json["token_ids"] == golden["tokens"].tolist()
    assert run.json["image_tokens"] == 9 * 256
    assert run.json["audio_tokens"] == 21
    assert run.json["prompt_tokens"] == golden["embeds_shape"][1]


def test_iterators_of_several_threads_and_tasks_each_give_their_own_answer(embedded_pipeline) -> None:
    requests = [Request(question=question) for question in ("hi", "What can you do?", "你好", "Describe this image.")]
    alone = [embedded_pipeline.generate(request).text for request in requests]

    def in_thread(request: Request) -> str:
        with embedded_pipeline.iterate(request) as texts:
            return "".join(texts)

    async def in_task(request: Request) -> str:
        return "".join([text async for text in embedded_pipeline.astream(request)])

    async def in_tasks() -> list[str]:
        return await asyncio.gather(*map(in_task, requests))

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(in_thread, requests)] == alone
    assert asyncio.run(in_tasks()) == alone
    assert len({*alone}) == 4
