"""Settings and tokenizers that make no model are problems; the other checks go on."""

import json
from pathlib import Path

import pytest

from tests.commands.doctor.fakes import diagnose_folder, problems, texts
from vita_demo.resources import resource


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "describes Qwen2ForCausalLM, a plain Qwen2"),
        ({"hidden_size": "wide"}, "define no valid model"),
        ({"num_attention_heads": 0}, "define no valid model"),
        ({"mm_vision_tower": 5}, "define no valid model"),
        ({"hidden_act": "gelu"}, "sets hidden_act to 'gelu'"),
    ],
)
def test_unusable_settings_are_one_problem_and_files_are_still_checked(copy: Path, change: dict, words: str) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    diagnosis = diagnose_folder(copy)
    (problem,) = problems(diagnosis)
    assert words in problem
    assert "235 tensors in" in texts(diagnosis, "Checkpoint")
    assert "1,297 tokens" in texts(diagnosis, "Settings")


def test_given_encoder_settings_are_used_and_their_mismatch_is_a_problem(copy: Path) -> None:
    vision = resource("configs", "vita15", "InternViT-300M-448px")
    diagnosis = diagnose_folder(copy, vision_tower=vision)
    assert f"vision settings: {vision} (given by --vision_tower)" in texts(diagnosis, "Settings")
    shapes = [
        finding
        for finding in diagnosis.findings
        if "model.vision_tower" in finding.text and "has shape" in finding.text
    ]
    assert shapes
    assert all("--vision_tower" in str(finding.fix) for finding in shapes)


def test_a_tokenizer_of_another_model_is_a_problem(copy: Path) -> None:
    vocab = json.loads((copy / "vocab.json").read_text())
    (copy / "vocab.json").write_text(json.dumps({**vocab, **{f"more{i}": 1000 + i for i in range(40)}}))
    (copy / "tokenizer_config.json").write_text("{}")
    assert any("different checkpoints" in text for text in problems(diagnose_folder(copy)))
    (copy / "vocab.json").write_text("{")
    assert any("the tokenizer in" in text for text in problems(diagnose_folder(copy)))
