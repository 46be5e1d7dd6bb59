"""Write the files in assets/ that are made by hand nowhere: the miniature's tokenizer and settings, and the samples.

    python tools/make_assets.py

Needs `av` (to write the clip) and the program `espeak-ng` (to speak the question); everything is drawn from formulas
and fixed seeds.  The miniature's weights are not stored: vita_demo.embedded draws them at first use.
"""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tokenizers import models, trainers

from vita_demo.prompt import system_prompts
from vita_demo.state import STATE_TOKENS
from vita_demo.tokenizer import byte_level_bpe

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
VOCAB_SIZE = 1000


def write_tokenizer(folder: Path) -> int:
    """Train byte-level BPE on the system prompts and the licence; return the number of tokens."""
    corpus = [*system_prompts().values(), (ROOT / "LICENSE").read_text(encoding="utf-8")]
    backend = byte_level_bpe(models.BPE(), {})
    alphabet = [chr(code) for code in bytes_to_unicode()]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(corpus, trainer)
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


def bytes_to_unicode() -> list[int]:
    """Code points that stand for the 256 bytes in a byte-level vocabulary: printable ones for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return printable + [256 + number for number in range(256 - len(printable))]


def write_settings(folder: Path, vocab_size: int) -> None:
    """Derive the miniature's settings from the released model's, with small dimensions."""
    released = ROOT / "configs" / "vita15"
    first = vocab_size - len(QWEN_SPECIAL) - len(STATE_TOKENS)
    text = json.loads((released / "config.json").read_text())
    text.update(vocab_size=vocab_size, hidden_size=192, intermediate_size=512, num_hidden_layers=6,
                num_attention_heads=6, num_key_value_heads=2, max_window_layers=6, mm_hidden_size=256,
                image_aspect_ratio="pad", mm_vision_tower="InternViT-300M-448px", mm_audio_encoder="audio-encoder",
                torch_dtype="float16", bos_token_id=first, eos_token_id=first + 2)  # fmt: skip
    write_json(folder / "config.json", text)
    vision, audio = folder / "InternViT-300M-448px", folder / "audio-encoder"
    for part in (vision, audio):
        shutil.copytree(released / part.name, part, dirs_exist_ok=True)
    small = json.loads((vision / "config.json").read_text())
    small.update(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=112)
    write_json(vision / "config.json", small)
    pixels = json.loads((vision / "preprocessor_config.json").read_text())
    pixels.update(crop_size=112, size=112)
    write_json(vision / "preprocessor_config.json", pixels)
    train = (audio / "train.yaml").read_text()
    for key, old, new in (
        ("output-dim", 1024, 64), ("attention-dim", 1024, 64), ("input-dim", 1024, 64), ("enc_out_dim", 1024, 64),
        ("attention-heads", 16, 2), ("linear-units", 4096, 128), ("num-blocks", 24, 2), ("llm_embed_dim", 3584, 192),
    ):  # fmt: skip
        train = train.replace(f"{key}: {old}", f"{key}: {new}")
    (audio / "train.yaml").write_text(train.replace("dither: 1.0", "dither: 0.0"))


def write_json(path: Path, content: object) -> None:
    """Write indented JSON with a final newline."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def scene(width: int, height: int, shift: float = 0.0) -> Image.Image:
    """A red circle, a blue square and a yellow star on a soft sky; the circle moves right with ``shift`` (0 to 1)."""
    big = 4
    sky = np.linspace((205, 225, 245), (245, 240, 225), height * big)[:, None].repeat(width * big, axis=1)
    image = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    unit = height * big / 10
    x, y = (2.5 + shift * (10 * width / height - 5)) * unit, 3.2 * unit
    draw.ellipse((x - 1.6 * unit, y - 1.6 * unit, x + 1.6 * unit, y + 1.6 * unit), fill=(214, 40, 48))
    draw.rectangle((2.0 * unit, 6.0 * unit, 4.8 * unit, 8.8 * unit), fill=(38, 92, 200))
    centre = (10 * width / height - 3.2, 7.0)
    points = []
    for number in range(10):
        radius, angle = (2.1, 0.84)[number % 2], math.pi * (number / 5 - 0.5)
        points.append(((centre[0] + radius * math.cos(angle)) * unit, (centre[1] + radius * math.sin(angle)) * unit))
    draw.polygon(points, fill=(245, 196, 24))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def write_clip(path: Path, seconds: int = 5, fps: int = 12) -> None:
    """Encode the scene with its circle moving to the right."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "26", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(seconds * fps):
            frame = av.VideoFrame.from_image(scene(320, 240, number / (seconds * fps - 1)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def main() -> None:
    """Write everything."""
    folder = ASSETS / "miniature"
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, write_tokenizer(folder))
    scene(640, 480).save(ASSETS / "scene.png", optimize=True)
    write_clip(ASSETS / "moving.mp4")
    speak = ["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(ASSETS / "question.wav"), "What can you see here?"]
    subprocess.run(speak, check=True)


if __name__ == "__main__":
    main()
