"""llama.cpp as the bar on the CPU: the same weights in its own format, as they are and in 8 and 4 bits.

Needs ``pip install llama-cpp-python gguf``, which compiles llama.cpp for this processor.  Without them, or on a GPU,
these ways are left out.
"""

import ctypes
import time
from collections.abc import Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.decode_ways import Decoded, LeftOutError, Maker, Subject, Way, decoded
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.transformers_bridge import views

# Values that share a scale in its quantized formats; the last dimension must be a multiple.
_BLOCK = 32


class LlamaCpp:
    """A model that llama.cpp has loaded; the file is not needed afterwards.

    Args:
        path: a GGUF file.
        wide: keep keys and values in float32 instead of float16.
    """

    def __init__(self, path: Path, wide: bool) -> None:
        import llama_cpp as library

        self._library, self._wide = library, wide
        # It would tell every tensor that it loads.
        self._log = library.llama_log_callback(lambda *_: None)
        library.llama_log_set(self._log, None)
        library.llama_backend_init()
        self._model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self._vocab_size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model))
        self._context = cache(self._make_context)

    def answer(self, prompt: Tensor, tokens: int) -> Decoded:
        """Read a prompt [1, S, D] and generate so many tokens, greedy."""
        context = self._context(prompt.shape[1] + tokens)
        self._library.llama_memory_clear(self._library.llama_get_memory(context), True)
        embeds = prompt[0].float().contiguous()  # [S, D]
        pointer = ctypes.cast(embeds.data_ptr(), ctypes.POINTER(ctypes.c_float))
        start, times, token_ids = time.perf_counter(), list[float](), list[int]()
        token_id = self._read(context, self._library.llama_batch(n_tokens=len(embeds), embd=pointer))
        while True:
            token_ids.append(token_id)
            times.append(time.perf_counter())
            if len(token_ids) == tokens:
                return decoded(start, times, token_ids)
            token_id = self._read(context, self._library.llama_batch(n_tokens=1, token=(ctypes.c_int32 * 1)(token_id)))

    def _read(self, context: Any, batch: Any) -> int:
        """Read what comes next; return the likeliest token after it."""
        code = self._library.llama_decode(context, batch)
        if code:
            raise RuntimeError(f"llama.cpp cannot decode (code {code})")
        logits = self._library.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, (self._vocab_size,)).argmax())

    def _make_context(self, capacity: int) -> Any:
        params = self._library.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = capacity
        params.n_threads = params.n_threads_batch = torch.get_num_threads()
        if self._wide:
            params.type_k = params.type_v = self._library.GGML_TYPE_F32
        context = self._library.llama_init_from_model(self._model, params)
        if not context:
            raise RuntimeError(f"llama.cpp has no memory for {capacity} positions")
        return context


def write_gguf(model: LanguageModel, path: Path, kind: str) -> int:
    """Write the weights in GGUF, matrices in the type of that name; return the bytes that a token reads of them."""
    import gguf

    config, matrix_type = model.config, gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    names, read_bytes = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers), 0
    for name, tensor in views(model).items():
        if config.tie_word_embeddings and name.startswith("lm_head"):
            continue
        tensor_type = matrix_type if tensor.dim() == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(tensor.float().numpy(), tensor_type)
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), data, raw_dtype=tensor_type)
        is_table = "embed_tokens" in name and not config.tie_word_embeddings
        read_bytes += 0 if is_table else data.nbytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_bytes


def llama_cpp(subject: Subject, kind: str = "") -> Way:
    """llama.cpp with matrices of one of its types, by default the model's."""
    model, dtype = subject.model, subject.model.norm.weight.dtype
    if subject.model.norm.weight.device.type != "cpu":
        raise LeftOutError("the bar on the CPU")
    if not all(find_spec(name) for name in ("llama_cpp", "gguf")):
        raise LeftOutError("llama-cpp-python or gguf is not installed")
    if kind and (model.config.hidden_size % _BLOCK or model.config.intermediate_size % _BLOCK):
        raise LeftOutError(f"{kind} takes widths that are multiples of {_BLOCK}")
    own = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}[dtype]
    exact = not kind and dtype == torch.float32
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        weights_bytes = write_gguf(model, path, kind or own)
        loaded = LlamaCpp(path, wide=exact)
    cache_bytes = model.bytes_per_token(1) - model.bytes_per_token(0)
    return Way(
        lambda prompt, tokens, _: loaded.answer(prompt, tokens),
        lambda context: weights_bytes + cache_bytes * context,
        kind="bare",
        exact=exact,
    )


WAYS: Mapping[str, Maker] = {
    "llama.cpp": llama_cpp,
    "llama.cpp q8_0": partial(llama_cpp, kind="Q8_0"),
    "llama.cpp q4_0": partial(llama_cpp, kind="Q4_0"),
}
