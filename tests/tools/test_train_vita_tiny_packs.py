"""A pack teaches exactly what is asked for later: prompts, positions and what each token sees."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.train_vita_tiny.album import Sight, no_sight
from tools.train_vita_tiny.asking import ask, word
from tools.train_vita_tiny.calming import calm
from tools.train_vita_tiny.clips import padded, random_clip
from tools.train_vita_tiny.layout import fresh_model
from tools.train_vita_tiny.packs import NO_LABEL, Chain, Pack, Turn, grouped, prefix_ids
from tools.train_vita_tiny.pointing import Look, looks
from tools.train_vita_tiny.queries import Query
from tools.train_vita_tiny.reading import answer_loss, pointing_loss
from tools.train_vita_tiny.recordings import Recording
from tools.train_vita_tiny.scenes import Shape, cell_of, random_scene
from tools.train_vita_tiny.words import CHINESE
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.vita import VitaModel
from vita_demo.prompt import PromptTurn, build_prompts, system_prompts

RECORDING = Recording(Query("count"), "How many shapes are there?", (), 0, 96)
HEARD = 12
# The positions of a tile, 4 by 4, that hold its corners, by the names of the places that these are in.
CORNERS = {"top left": {0}, "top right": {3}, "bottom left": {12}, "bottom right": {15}}


def position_of(shape: Shape) -> int:
    return cell_of(shape.x, shape.y, 4)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> VitaModel:
    torch.manual_seed(3)
    return fresh_model(model_folder).eval().requires_grad_(False)


def typed_and_spoken() -> list[list[Turn]]:
    return [
        [Turn("How many shapes are there?", "☜There are two shapes.")],
        [Turn(RECORDING, "☞There are two shapes."), Turn("左上角有什么？", "☜左上角有一个红色圆形。")],
        [Turn("Hello!", "☜Hello!"), Turn(RECORDING, "☞No."), Turn("Thanks!", "☜You are welcome!")],
    ]


def spelled_out(pack: Pack, prefix: list[int], chain: int) -> list[int]:
    """Write one chain as the prompt would have it: one placeholder for a tile or a recording."""
    text = " ".join(map(str, [*prefix, *[IMAGE_TOKEN_ID] * pack.sight.count, *pack.chains[chain].ids]))
    text = text.replace(" ".join([str(AUDIO_TOKEN_ID)] * HEARD), str(AUDIO_TOKEN_ID))
    return [int(part) for part in text.split()]


@pytest.mark.parametrize(("modality", "tiles"), [("text", 0), ("image", 1), ("image", 3), ("video", 4)])
def test_each_chain_is_the_prompt_that_the_demo_builds(tokenizer: VitaTokenizer, modality: str, tiles: int) -> None:
    sight = Sight("outside", modality, 0, tiles) if tiles else no_sight()
    pack = Pack.of(sight, typed_and_spoken(), tokenizer.encode)
    for number, turns in enumerate(typed_and_spoken()):
        said = [
            PromptTurn(
                turn.question if isinstance(turn.question, str) else "",
                tiles if index == 0 else 0,
                isinstance(turn.question, Recording),
                turn.answer,
                tuple(tokenizer.encode(turn.answer + "<|im_end|>")),
            )
            for index, turn in enumerate(turns)
        ]
        prompts = build_prompts(said, tokenizer.encode, system_prompts()[modality])
        expected = [token_id for prompt in prompts for token_id in prompt.input_ids]
        assert spelled_out(pack, prefix_ids(modality, tokenizer.encode), number) == expected


@torch.inference_mode()
def test_what_a_pack_teaches_is_what_the_model_answers_with(tokenizer: VitaTokenizer, model: VitaModel) -> None:
    rng = np.random.default_rng(1)
    prefix = prefix_ids("image", tokenizer.encode)
    packs, alone = [], []
    tiles = torch.randn(3, 16, model.config.text.hidden_size)
    for row in range(3):
        scene = random_scene(rng)
        queries = [ask(scene, rng) for _ in range(row + 2)]
        turns = [Turn(word(query, rng), "☜" + query.answer(scene)) for query in queries]
        packs.append(Pack.of(Sight(scene, "image", row, 1), [[turn] for turn in turns], tokenizer.encode))
        for turn in turns:
            question = tokenizer.encode(f"\n{turn.question}<|im_end|>\n<|im_start|>assistant\n")
            answer = tokenizer.encode(turn.answer + "<|im_end|>")
            embed = model.language_model.embed_tokens
            x = torch.cat([embed(torch.tensor(prefix)), tiles[row], embed(torch.tensor(question))])[None]
            language_model = model.language_model
            decoder = Decoder(language_model, language_model.allocate_cache(x.shape[1] + len(answer)))
            steps = (decoder.step(torch.tensor([token_id])).clone() for token_id in answer[:-1])
            logits = [decoder.prefill(x), *steps]
            alone.append(torch.nn.functional.cross_entropy(torch.cat(logits), torch.tensor(answer), reduction="sum"))
    groups = grouped(packs)
    assert len(groups) > 1
    loss, _ = answer_loss(model.language_model, torch.tensor(prefix), groups, tiles, None, (2, 3))
    answered = sum((group.labels != NO_LABEL).sum() for group in groups)
    assert loss.item() == pytest.approx(torch.stack(alone).sum().item() / answered, rel=1e-5)


def test_a_pack_holds_no_more_than_fits(tokenizer: VitaTokenizer) -> None:
    chains = typed_and_spoken() * 5
    whole, part = Pack.of(no_sight(), chains, tokenizer.encode), Pack.of(no_sight(), chains, tokenizer.encode, room=99)
    assert 50 < sum(len(chain.ids) for chain in part.chains) <= 99
    assert whole.chains[: len(part.chains)] == part.chains
    assert len(whole.chains) == len(chains)


def test_groups_hold_every_chain_once(tokenizer: VitaTokenizer) -> None:
    packs = [Pack.of(no_sight(), typed_and_spoken(), tokenizer.encode) for _ in range(3)]
    groups = grouped(packs)
    assert sum((group.labels != NO_LABEL).sum() for group in groups) == sum(
        label != NO_LABEL for pack in packs for chain in pack.chains for label in chain.labels
    )
    for group in groups:
        assert len(group.recordings) * HEARD == (group.ids == AUDIO_TOKEN_ID).sum()
        assert set(group.owners) == {0, 1, 2}


def test_an_answer_points_to_the_places_that_it_is_about() -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        scene = random_scene(rng)
        query = ask(scene, rng, ("is_there", "at", "count_noun", "background"))
        (look,) = looks(query, scene, query.answer(scene))
        if query.intent == "background":
            assert not look.positions
        elif query.intent == "at" and query.place not in {shape.place for shape in scene.shapes}:
            assert {0, 3, 12, 15} & set(look.positions) == CORNERS.get(query.place, set())
            assert 1 <= len(look.positions) <= 4
        else:
            asked = [s for s in scene.shapes if (s.place == query.place if query.place else query.noun.fits(s))]
            assert set(look.positions) == {position_of(shape) for shape in asked}


def test_who_names_several_things_points_to_one_after_the_other() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        scene = random_scene(rng)
        query = ask(scene, rng, ("describe", "kinds", "biggest"))
        answer = "☜" + query.answer(scene)
        before, *parts, after = looks(query, scene, answer)
        assert set(before.positions) == {position_of(shape) for shape in scene.shapes}
        assert after == Look(len(answer), ())
        start = before.end
        for part in parts:
            (position,) = part.positions
            shape = next(shape for shape in scene.shapes if position_of(shape) == position)
            told = answer[start : part.end].lower()
            if query.language == "en":
                assert f"{shape.colour} {shape.kind}" in told
                assert query.intent != "describe" or told.endswith(shape.place)
            else:
                assert CHINESE[shape.colour] + CHINESE[shape.kind] in told
                assert query.intent != "describe" or CHINESE[shape.place] in told
            start = part.end
        if query.intent != "biggest":
            assert len(parts) == len(scene.shapes)


def test_a_video_points_to_where_it_ends() -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        clip = random_clip(rng)
        query = ask(clip, rng, ("happens", "describe_video"))
        last = looks(query, clip, query.answer(clip))[-1]
        gone = clip.event.action == "disappears"
        seen = padded(clip.start if gone else clip.end).shapes
        own = clip.before if gone else clip.after
        assert own is not None
        assert last.positions in {(position_of(shape),) for shape in seen if shape.kind == own.kind}


def test_parts_of_answers_end_where_tokens_end(tokenizer: VitaTokenizer) -> None:
    rng = np.random.default_rng(7)
    for number in range(200):
        view = random_clip(rng) if number % 2 else random_scene(rng)
        query = ask(view, rng)
        answer = "☞" + query.answer(view)
        for look in looks(query, view, answer):
            ids = tokenizer.encode(answer[: look.end])
            assert tokenizer.encode(answer)[: len(ids)] == ids


def test_places_are_pointed_at_while_answering(tokenizer: VitaTokenizer) -> None:
    turn = Turn("Where?", "☜Here and there.", (Look(5, (0, 3)), Look(15, (8,)), Look(16, ())))
    chain = Chain.of([turn], True, tokenizer.encode)
    pointed = [places for places, label in zip(chain.places, chain.labels, strict=True) if label != NO_LABEL]
    here, rest = len(tokenizer.encode("☜Here")), len(tokenizer.encode(".")) + 1
    assert pointed == [0b1001] * here + [1 << 8] * (len(pointed) - here - rest) + [0] * rest
    assert sum(chain.places) == sum(pointed)


def test_attention_elsewhere_costs_and_no_place_costs_nothing() -> None:
    looks = torch.zeros(3, 2, 16)
    looks[0, :, 0] = looks[0, :, 3] = 0.5
    looks[1, :, 5] = 1.0
    both = 0b1001
    assert pointing_loss(looks, torch.tensor([both, 0, 0])).abs() < 0.01
    assert pointing_loss(looks, torch.tensor([both, both, 0])) > 3
    assert pointing_loss(looks, torch.tensor([0, 0, 0])) == 0


def test_calmed_features_keep_their_direction() -> None:
    torch.manual_seed(1)
    last, x = torch.nn.Linear(8, 6), 50 * torch.randn(20, 8)
    before = last(x).detach()
    factor = calm(last, before)
    after = last(x).detach()
    assert torch.allclose(after, before * factor, atol=1e-4)
    assert after.norm(dim=-1).mean().item() == pytest.approx(8, rel=1e-3)
