"""The least a Python program can do for the same answer; cold start is compared with it.

Run as a script: ``python benchmarks/bare.py MODEL.tflite PAGE.jpg``. It imports numpy, Pillow and
LiteRT, decodes the page in scaled grey, and invokes the network once on whatever the picture gives.
It finds no panel, checks nothing and says nothing.
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image


def main(model: str, page: str) -> None:
    """Decode, reshape to what the network takes, invoke once."""
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    _, height, width, _ = source["shape"]
    with Image.open(page) as image:
        image.draft("L", (image.width // 2, image.height // 2))
        grey = np.asarray(image.resize((width, height)).convert("L"), np.float32)
    tensor = (1 - grey / 255).astype(source["dtype"])
    interpreter.set_tensor(source["index"], tensor[None, :, :, None])
    interpreter.invoke()
    interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


if __name__ == "__main__":
    main(*sys.argv[1:])
