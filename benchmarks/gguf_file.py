"""A language model's weights as the file that llama.cpp reads."""

from pathlib import Path

import gguf

from vita_demo.model.language_model import LanguageModel
from vita_demo.model.loading.transformers_bridge import views


def write_gguf(model: LanguageModel, path: Path, kind: str) -> None:
    """Write the model as GGUF of the qwen2 architecture.

    Tokens are called by their numbers, so only ids go in and come out.  The last one is declared to be the end, since
    llama.cpp wants one.

    Args:
        model: float32, float16 or bfloat16, on the CPU.
        path: the file.
        kind: what matrices are stored as: one of ``gguf.GGMLQuantizationType``, such as F32, BF16, Q8_0 or Q4_0.
            Vectors stay float32.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"<{number}>" for number in range(config.vocab_size)])
    writer.add_token_types([gguf.TokenType.NORMAL] * config.vocab_size)
    writer.add_token_merges(["< >"])
    writer.add_eos_token_id(config.vocab_size - 1)
    _add_tensors(writer, model, gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: gguf.GGUFWriter, model: LanguageModel, kind: gguf.GGMLQuantizationType) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, model.config.num_hidden_layers)
    for name, tensor in views(model).items():
        if name.startswith("lm_head") and model.config.tie_word_embeddings:
            continue
        stored = kind if tensor.dim() > 1 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(tensor.float().numpy(), stored)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), data, raw_dtype=stored)
