"""Other ways to serve the same model in process: torch eager, ONNX Runtime and faiss.

They encode, score every item in float32 and return the best 20, without session-kNN, exclusions or a blend.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from training_jobs.serving.encoder_numpy import EncoderWeights, encode
from training_jobs.serving.sessions import Int32
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import INPUT_SCALE, Encoder, EncoderSettings

K = 20
Peer = Callable[[Int32], Any]


class Norm(nn.Module):
    """nn.RMSNorm in basic operations, because the ONNX exporter does not support it."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        self.weight = norm.weight

    def forward(self, x: Tensor) -> Tensor:
        epsilon = torch.finfo(torch.float32).eps
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + epsilon) * self.weight


class WholeModel(nn.Module):
    """model.Encoder with precomputed item vectors: rows [1, length] in, the best 20 rows and scores out."""

    def __init__(self, weights: EncoderWeights) -> None:
        super().__init__()
        settings = EncoderSettings(weights.dim, weights.layers, weights.heads, weights.max_length)
        self.encoder = Encoder(1, settings, no_content(1))
        state = {name: torch.from_numpy(np.array(value)) for name, value in weights.tensors.items()}
        self.encoder.load_state_dict(state, strict=False)
        self.register_buffer("vectors", torch.from_numpy(np.array(weights.vectors)))
        self.temperature = weights.temperature
        self.eval()

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        encoder, length = self.encoder, rows.shape[1]
        width = math.sqrt(encoder.settings.dim)
        vectors, distance, causal = (
            cast(Tensor, one) for one in (self.vectors, encoder.distance, encoder.causal)
        )
        raw = vectors[rows] * (width * INPUT_SCALE)
        bias = (encoder.relative[:, distance[:length, :length]] + causal[:length, :length])[None]
        x = raw + encoder.position[:length]
        for layer in encoder.layers:
            x = layer(x, bias)
        y = encoder.norm(x)
        key, query = encoder.pool(y).chunk(2, -1)
        attention = query @ key.transpose(1, 2) / width
        pooled = torch.softmax(attention + bias[:, 0], -1) @ raw
        query = nn.functional.normalize(pooled + encoder.residual_gate * y, dim=-1)[:, -1]
        scores = torch.softmax(query @ vectors.T / self.temperature, -1)
        best = torch.topk(scores, K)
        return best.indices, best.values


def torch_eager(weights: EncoderWeights) -> Peer:
    torch.set_num_threads(1)
    model = WholeModel(weights)

    def ask(prefix: Int32) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(prefix.astype(np.int64))[None])[0].numpy()

    return ask


def onnx_runtime(weights: EncoderWeights) -> Peer:
    """Build a session of the whole graph: encoder, product with all items, softmax, best 20."""
    import onnxruntime

    model = WholeModel(weights)
    encoder: Any = model.encoder
    for layer in encoder.layers:
        layer.norm_attention, layer.norm_feed = Norm(layer.norm_attention), Norm(layer.norm_feed)
    encoder.norm = Norm(encoder.norm)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, dtype=torch.int64),),
            path,
            input_names=["rows"],
            dynamic_axes={"rows": {1: "length"}},
            # The newer exporter cannot view the attention's transposed output for an unknown length.
            dynamo=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda prefix: session.run(None, {"rows": prefix.astype(np.int64)[None]})[0]


def faiss_flat(weights: EncoderWeights) -> Peer:
    """Combine our encoder with an exact inner-product index."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(weights.dim)
    index.add(np.ascontiguousarray(weights.vectors))
    return lambda prefix: index.search(encode(weights, [prefix]), K)[1]


IN_PROCESS: dict[str, Callable[[EncoderWeights], Peer]] = {
    "torch_eager": torch_eager,
    "onnx_runtime": onnx_runtime,
    "faiss_flat": faiss_flat,
}
