"""Serve the same model in torch eager with LitServe: `python -m benchmarks.serve_litserve --model-dir DIR --port N`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litserve
import numpy as np

from benchmarks.serve_peers import torch_eager
from training_jobs.serving.model_files import load_recommender


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The endpoint's API without exclusions, with one worker."""

    def __init__(self, model_dir: Path) -> None:
        super().__init__(api_path="/invocations")
        self.model_dir = model_dir

    def setup(self, device: str) -> None:
        recommender, _ = load_recommender(self.model_dir)
        self.ask = torch_eager(recommender.weights)
        self.vocabulary, self.rows = recommender.vocabulary, recommender.rows

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads the annotation as a schema
        return np.array([self.rows[item] for item in request["items"]], np.int32)

    def predict(self, x: Any) -> Any:
        return self.ask(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"items": [self.vocabulary[row] for row in output[0]]}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python -m benchmarks.serve_litserve --model-dir model --port 8090",
    )
    parser.add_argument("--model-dir", type=Path, required=True, help="an unpacked archive")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    options = parser.parse_args(argv)
    server = litserve.LitServer(Api(options.model_dir), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
