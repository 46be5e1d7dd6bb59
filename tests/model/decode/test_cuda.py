"""What only a GPU shows: graphs against operations, races, hidden synchronizations, and bfloat16's near ties."""

import random
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.model.fakes import CONFIG, make_model
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.shapes import SETTINGS
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.run_ahead import AHEAD, PinnedSlot, Readback, generate_ahead
from vita_demo.generation.sampling import make_sampler
from vita_demo.model.decode.cuda_graph import Captures, capture_on
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.prefill import Prefill
from vita_demo.model.decode.slots import Slots
from vita_demo.model.language_model import KVCache, LanguageModel
from vita_demo.resources import resource

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

DEVICE = torch.device("cuda", 0)
# Heads as wide as fast attention wants them.
WIDE = replace(CONFIG, vocab_size=1017, hidden_size=256, intermediate_size=704, num_attention_heads=4,
               max_position_embeddings=4096)  # fmt: skip
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SAMPLINGS = {
    "greedy": GenerationOptions(max_new_tokens=60),
    "penalized": GenerationOptions(max_new_tokens=60, repetition_penalty=1.2, min_new_tokens=30,
                                   bad_words_ids=((3,), (5, 9), (7, 1, 2))),
    "drawn": GenerationOptions(max_new_tokens=60, do_sample=True, seed=3, temperature=0.8, top_k=40, top_p=0.9),
}  # fmt: skip


def on_gpu(dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A model under whose random weights rounding stays as small as in a trained one."""
    model, generator = make_model(WIDE), torch.Generator().manual_seed(0)
    for name, tensor in model.named_parameters():
        if name.endswith("norm.weight"):
            tensor.fill_(1)
        else:
            tensor.normal_(0, tensor.shape[-1] ** -0.5, generator=generator)
    return model.to(DEVICE, dtype)


def make_decoder(
    model: LanguageModel,
    capacity: int = 2048,
    *,
    captured: bool = True,
    kernels: bool = True,
    prefill: Prefill | None = None,
) -> Decoder:
    capture = capture_on(DEVICE) if captured else None
    with torch.inference_mode():
        cache = model.allocate_cache(capacity)
        return Decoder(model, cache, capture=capture, kernels=kernels, prefill=prefill)


def make_prompt(model: LanguageModel, positions: int, seed: int = 1) -> Tensor:
    prompt = torch.randn(1, positions, WIDE.hidden_size, generator=torch.Generator().manual_seed(seed))
    return prompt.to(DEVICE, model.norm.weight.dtype)


@torch.inference_mode()
def forced_logits(decoder: Decoder, prompt: Tensor, ids: list[int]) -> Tensor:
    """The logits after the prompt and after each id [n + 1, vocab_size]."""
    found = [decoder.prefill(prompt).clone()]
    found += [decoder.step(torch.tensor([token_id], device=DEVICE)).clone() for token_id in ids]
    return torch.cat(found)


def plain_ids(model: LanguageModel, turns: list[tuple[Tensor, int]], options: GenerationOptions) -> list[list[int]]:
    """Tokens of several turns on one cache, a step at a time, nothing captured and nothing ahead."""
    decoder, answers = make_decoder(model, captured=False), []
    for prompt, count in turns:
        sampler, ids = make_sampler(options, frozenset({2, 11}), DEVICE), []
        with torch.inference_mode():
            logits = decoder.prefill(prompt)
            for _ in range(count):
                answer = torch.tensor([ids], dtype=torch.long, device=DEVICE)
                ids.append(int(sampler(logits, answer)))
                if len(ids) < count:
                    logits = decoder.step(torch.tensor(ids[-1:], device=DEVICE))
        answers.append(ids)
    return answers


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positions", [3, 509, 1021])
def test_a_graph_gives_the_very_logits_of_its_operations(dtype: torch.dtype, positions: int) -> None:
    model, ids = on_gpu(dtype), [3, 96, 1016, 0, 41, 41, 7]
    prompt = make_prompt(model, positions)
    captured = forced_logits(make_decoder(model, kernels=False), prompt, ids)
    assert torch.equal(captured, forced_logits(make_decoder(model, captured=False), prompt, ids))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positions", [3, 509])
def test_kernels_give_the_logits_of_the_operations(
    dtype: torch.dtype, positions: int, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("triton", reason="needs Triton")
    model, ids = on_gpu(dtype), [3, 96, 1016, 0, 41, 41, 7]
    prompt = make_prompt(model, positions)
    ours = forced_logits(make_decoder(model), prompt, ids)
    operations = forced_logits(make_decoder(model, captured=False), prompt, ids)
    assert torch.allclose(ours.float(), operations.float(), atol=1e-3 if dtype == torch.float32 else 0.1)
    assert not caplog.records, "something fell back"


def test_steps_give_the_modules_logits() -> None:
    model, ids = on_gpu(), [3, 96, 1016, 0, 41, 41, 7]
    prompt = make_prompt(model, 1021)
    ours = forced_logits(make_decoder(model), prompt, ids)
    cache, theirs = model.allocate_cache(1100), []
    with torch.inference_mode():
        theirs.append(model(prompt, cache))
        theirs += [model(model.embed_tokens(torch.tensor([[i]], device=DEVICE)), cache) for i in ids]
    assert torch.allclose(ours, torch.cat(theirs), atol=1e-3)


def test_after_a_capture_that_failed_the_thread_goes_on_without_graphs() -> None:
    """On the stream that it was on."""
    captures, stream = Captures(), torch.cuda.current_stream(DEVICE)
    numbers = torch.ones(4, device=DEVICE)
    with pytest.raises(RuntimeError):
        captures.capture(DEVICE, lambda: numbers.sum().item())
    assert torch.cuda.current_stream(DEVICE) == stream
    with pytest.raises(RuntimeError, match="an earlier capture failed"):
        captures.capture(DEVICE, lambda: numbers.add_(1))
    assert numbers.sum().item() == 4


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_running_ahead_gives_the_tokens_of_one_step_at_a_time(name: str, depth: int) -> None:
    """At any depth, and with a reader that dawdles."""
    model, options, draws = on_gpu(), SAMPLINGS[name], random.Random(depth)
    prompt = make_prompt(model, 490)
    decoder, sampler = make_decoder(model), make_sampler(options, frozenset({2, 11}), DEVICE)
    ids = []
    for token in generate_ahead(decoder, prompt, sampler, 60, Readback(depth, PinnedSlot)):
        ids.append(token.token_id)
        time.sleep(draws.random() / 1000)
    assert [ids] == plain_ids(model, [(prompt, 60)], options)


def test_a_second_turn_after_a_stop_at_every_position() -> None:
    model, options = on_gpu(), SAMPLINGS["greedy"]
    decoder, prompts = make_decoder(model), [make_prompt(model, 30), make_prompt(model, 5, seed=2)]
    for stop in range(1, 41):
        decoder.cache.truncate(0)
        answers = []
        for prompt, count in zip(prompts, (stop, 12), strict=True):
            tokens = generate_tokens(decoder, prompt, make_sampler(options, frozenset({2, 11}), DEVICE), options)
            answers.append([next(tokens).token_id for _ in range(count)])
            tokens.close()
        assert answers == plain_ids(model, list(zip(prompts, (stop, 12), strict=True)), options)


@pytest.mark.parametrize("name", SAMPLINGS)
def test_nothing_synchronizes_between_two_tokens(name: str) -> None:
    model, options = on_gpu(torch.bfloat16), SAMPLINGS[name]
    decoder, sampler = make_decoder(model), make_sampler(options, frozenset({2, 11}), DEVICE)
    tokens = generate_ahead(decoder, make_prompt(model, 30), sampler, 20, Readback(AHEAD, PinnedSlot))
    for _ in range(3):
        next(tokens)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            next(tokens)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        tokens.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prompt_in_two_parts_gives_the_logits_of_one(dtype: torch.dtype) -> None:
    model = on_gpu(dtype)
    prompt = make_prompt(model, 300)
    with torch.inference_mode():
        whole = model(prompt, model.allocate_cache(300))
        cache = model.allocate_cache(300)
        model(prompt[:, :170], cache)
        parts = model(prompt[:, 170:], cache)
    assert torch.allclose(parts.float(), whole.float(), atol=1e-3 if dtype == torch.float32 else 0.1)


@torch.inference_mode()
def their_logits(theirs: torch.nn.Module, cache: object, prompt: Tensor, ids: list[int]) -> Tensor:
    found = [theirs(inputs_embeds=prompt, past_key_values=cache, use_cache=True).logits[:, -1]]
    for token_id in ids:
        token = torch.tensor([[token_id]], device=DEVICE)
        found.append(theirs(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1])
    return torch.cat(found).float()


def test_bfloat16_argmaxes_are_transformers_but_for_near_ties(capsys: pytest.CaptureFixture[str]) -> None:
    """A tie is near where the margin is under twice what transformers' own two caches differ by."""
    from transformers import DynamicCache, StaticCache

    from vita_demo.model.loading.transformers_bridge import to_transformers

    model = on_gpu(torch.bfloat16)
    theirs, prompt = to_transformers(model), make_prompt(model, 64)
    ids = torch.randint(WIDE.vocab_size, (200,), generator=torch.Generator().manual_seed(0)).tolist()
    dynamic = their_logits(theirs, DynamicCache(), prompt, ids)
    static = their_logits(theirs, StaticCache(config=theirs.config, max_cache_len=300), prompt, ids)
    ours = forced_logits(make_decoder(model), prompt, ids).float()
    top = dynamic.topk(2).values
    near = top[:, 0] - top[:, 1] < 2 * (dynamic - static).abs().amax()
    differ = ours.argmax(-1) != dynamic.argmax(-1)
    with capsys.disabled():
        sys.stdout.write(f" near ties: {int(near.sum())} of {len(near)}, decided otherwise: {int(differ.sum())}\n")
    assert not bool((differ & ~near).any())


def test_a_whole_answer_on_the_gpu_is_that_of_the_cpu(tiny7, reference_media, tiny7_pipeline) -> None:
    """In float32, with a picture and sound, twice, by the steps that were prepared while loading."""
    for library in ("soundfile", "soxr", "kaldi_native_fbank"):
        pytest.importorskip(library, reason="reads sound")
    from tests.golden import golden_request
    from vita_demo.pipeline import Pipeline

    request = golden_request("image_audio", reference_media)
    options = GenerationOptions(max_new_tokens=32)
    pipeline = Pipeline.load(str(tiny7), device="cuda", dtype="float32")
    expected = tiny7_pipeline.generate(request, options).token_ids
    [prepared] = pipeline.model._spare
    first, second = (pipeline.generate(request, options) for _ in range(2))
    assert first.token_ids == second.token_ids == expected
    assert pipeline.model._spare == [prepared]


@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_rows_of_slots_have_the_logits_that_they_have_alone(dtype: torch.dtype) -> None:
    model, lengths = on_gpu(dtype), {6: 9, 0: 300, 3: 1}
    slots = Slots(model, 8, 2048, capture_on(DEVICE))
    decoders = {slot: make_decoder(model, captured=False) for slot in lengths}
    for slot, length in lengths.items():
        slots.prefill(slot, make_prompt(model, length, slot))
        decoders[slot].prefill(make_prompt(model, length, slot))
    for step in range(5):
        ids = torch.tensor([step, 7, 11 * step])
        rows = slots.step([*lengths], ids)
        alone = torch.cat([decoders[slot].step(ids[row : row + 1].to(DEVICE)) for row, slot in enumerate(lengths)])
        deviation = float((rows - alone).abs().max() / alone.abs().max())
        assert deviation < (1e-4 if dtype == torch.float32 else 0.05)


# Captured prompts and pictures.  They come last: after a capture that failed there are no others in this process.


@pytest.fixture(scope="module", params=DTYPES)
def captured_prompts(request: pytest.FixtureRequest) -> tuple[LanguageModel, Prefill]:
    model = on_gpu(request.param)
    prefill = Prefill(model)
    prefill.prepare(capture_on(DEVICE, share_memory=True))
    assert prefill._prepared is not None, "it fell back"
    return model, prefill


def near(found: Tensor, expected: Tensor) -> bool:
    """Closely in float32, up to rounding in half precision."""
    tolerance = 1e-4 if found.dtype == torch.float32 else 0.05
    return float((found.float() - expected.float()).abs().max()) < tolerance * float(expected.float().abs().max())


def same_cache(ours: KVCache, theirs: KVCache) -> bool:
    end = ours.length
    pairs = (ours.keys, theirs.keys), (ours.values, theirs.values)
    return end == theirs.length and all(near(one[:, :, :, :end], other[:, :, :, :end]) for one, other in pairs)


@torch.inference_mode()
def greedy_ids(decoder: Decoder, logits: Tensor, count: int = 20) -> list[int]:
    ids = []
    for _ in range(count):
        ids.append(int(logits.argmax()))
        logits = decoder.step(torch.tensor(ids[-1:], device=DEVICE))
    return ids


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 256, 300, 511, 512])
@torch.inference_mode()
def test_a_captured_prompt_is_that_of_the_modules(captured_prompts: tuple[LanguageModel, Prefill], length: int) -> None:
    """Into a decoder and into a slot, after a longer one; a second turn and the answers go on alike."""
    model, prefill = captured_prompts
    decoder, theirs = (make_decoder(model, captured=False, prefill=reader) for reader in (prefill, None))
    slots = Slots(model, 2, 1024, prefill=prefill)
    decoder.prefill(make_prompt(model, 512, seed=5))
    decoder.cache.truncate(0)
    prompt = make_prompt(model, length)
    expected = theirs.prefill(prompt)
    assert near(decoder.prefill(prompt), expected)
    assert same_cache(decoder.cache, theirs.cache)
    assert near(slots.prefill(1, prompt), expected)
    assert same_cache(slots._caches[1], theirs.cache)
    if model.norm.weight.dtype == torch.float32:
        assert greedy_ids(decoder, decoder.prefill(make_prompt(model, 7, seed=2))) == greedy_ids(
            theirs, theirs.prefill(make_prompt(model, 7, seed=2))
        )


@torch.inference_mode()
def test_a_captured_prompt_gives_the_same_logits_each_time(captured_prompts: tuple[LanguageModel, Prefill]) -> None:
    """Whatever was read before."""
    model, prefill = captured_prompts
    decoder = make_decoder(model, captured=False, prefill=prefill)
    first = decoder.prefill(make_prompt(model, 100))
    for other in (make_prompt(model, 128, seed=2), torch.full_like(make_prompt(model, 128), float("nan"))):
        decoder.cache.truncate(0)
        decoder.prefill(other)
        decoder.cache.truncate(0)
        assert torch.equal(decoder.prefill(make_prompt(model, 100)), first)


@torch.inference_mode()
def test_captured_prompts_of_two_slots_do_not_disturb_each_other(
    captured_prompts: tuple[LanguageModel, Prefill],
) -> None:
    model, prefill = captured_prompts
    slots, lengths = Slots(model, 2, 1024, capture_on(DEVICE), prefill), {1: 80, 0: 33}
    decoders = {slot: make_decoder(model, captured=False) for slot in lengths}
    for slot, length in lengths.items():
        prompt = make_prompt(model, length, slot)
        assert near(slots.prefill(slot, prompt), decoders[slot].prefill(prompt))
    for token_id in (3, 1016):
        rows = slots.step([*lengths], torch.tensor([token_id] * 2))
        token = torch.tensor([token_id], device=DEVICE)
        assert near(rows, torch.cat([decoders[slot].step(token) for slot in lengths]))


@torch.inference_mode()
def test_long_prompts_and_later_ones_are_read_by_the_modules(
    captured_prompts: tuple[LanguageModel, Prefill],
) -> None:
    model, prefill = captured_prompts
    ours, theirs = model.allocate_cache(600), model.allocate_cache(600)
    for length in (513, 7):
        prompt = make_prompt(model, length)
        assert torch.equal(prefill(prompt, ours), model(prompt, theirs))


@torch.inference_mode()
def test_a_prompt_on_another_stream_is_read_by_the_modules(captured_prompts: tuple[LanguageModel, Prefill]) -> None:
    model, prefill = captured_prompts
    prompt = make_prompt(model, 9)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream(DEVICE)):
        found = prefill(prompt, model.allocate_cache(9))
        expected = model(prompt, model.allocate_cache(9))
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_small_pictures_and_short_clips_are_encoded_as_by_the_modules(dtype: torch.dtype) -> None:
    config = VitaConfig.from_pretrained(resource(*SETTINGS["tiny"]))
    model = VitaForGeneration(config).to(dtype)
    model.audio_encoder.cmvn.float()
    generator = torch.Generator().manual_seed(0)
    for tensor in model.parameters():
        tensor.data.normal_(0, tensor.shape[-1] ** -0.5, generator=generator)
    for name, tensor in model.named_buffers():
        tensor.fill_(float(not name.endswith("mean")))
    model = model.to(DEVICE).requires_grad_(False)
    size = config.vision.image_size
    pictures = [torch.randn(count, 3, size, size, device=DEVICE) for count in range(1, 7)]
    clips = [torch.randn(frames, config.audio.num_mel_bins) for frames in (350, 7, 515, 1027, 1028)]
    expected = [*map(model.encode_images, pictures), *map(model.encode_audio, clips)]
    model.prepare_inputs()
    assert model._audio is not None, "it fell back"
    for _ in range(2):
        found = [*map(model.encode_images, pictures), *map(model.encode_audio, clips)]
        assert all(map(near, found, expected))
