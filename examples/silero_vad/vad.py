"""silero-vad taken apart: what is before its LSTM, the LSTM, and what is behind it.

The network comes from the installed wheel `silero-vad` (MIT), whose package is never imported: its
ONNX file is cut at the LSTM's input and output, and ONNX Runtime runs the two ends.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from audio import Sound
from numpy.typing import NDArray

Float = NDArray[np.float32]
#: Samples of one frame (32 ms), and those before it that the network sees as well.
FRAME, CONTEXT = 512, 64
SEQUENCE_MODEL = "silero_vad_16k_sequence.onnx"


def wheel_file(name: str) -> Path:
    """Return a file of the installed wheel."""
    try:
        files = importlib.metadata.files("silero-vad") or []
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(
            "silero-vad: found no such package; pip install --no-deps silero-vad==6.2.3"
        ) from None
    found = [f for f in files if f.name == name]
    if not found:
        raise SystemExit(
            f"silero-vad: found no {name} in it; pip install --no-deps silero-vad==6.2.3"
        )
    return Path(str(found[0].locate()))


def frames(sound: Sound) -> Float:
    """Return the frames of a sound with their context, [n_frames, CONTEXT + FRAME]."""
    n = -(-len(sound) // FRAME)
    padded = np.zeros(CONTEXT + n * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(sound)] = sound
    return np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME].copy()


class Vad:
    """The ends of the network around its LSTM (128 inputs, 128 units)."""

    def __init__(self) -> None:
        model = onnx.load(str(wheel_file(SEQUENCE_MODEL)))
        lstm = next(n for n in model.graph.node if n.op_type == "LSTM")
        self._model = model
        model = onnx.shape_inference.infer_shapes(model)
        cut = onnx.utils.Extractor(model)
        self._whole = _session(model)
        self._lstm = cut.extract_model([lstm.input[0]], [lstm.output[0]])
        del self._lstm.graph.node[-1].input[4:]  # the initial states, which are 0
        del self._lstm.graph.input[1:]
        self._before = _session(cut.extract_model(["input"], [lstm.input[0]]))
        self._behind = _session(cut.extract_model([lstm.output[0]], ["speech_probs"]))

    def save_lstm(self, path: Path) -> None:
        """Write the LSTM alone as an ONNX file."""
        onnx.save(self._lstm, str(path))

    def features(self, sound: Sound) -> Float:
        """Return the LSTM's inputs, [n_frames, 128]."""
        (found,) = self._before.run(None, {self._before.get_inputs()[0].name: frames(sound)})
        return np.asarray(found).reshape(-1, 128)

    def probabilities(self, hidden: Float) -> Float:
        """Return the probability of speech of every frame from the LSTM's h, [n_frames, 128]."""
        fed = np.asarray(hidden, dtype=np.float32).reshape(-1, 1, 1, 128)
        (found,) = self._behind.run(None, {self._behind.get_inputs()[0].name: fed})
        return np.asarray(found).reshape(-1)

    def last_weights(self) -> Float:
        """Return the weights of the layer behind h, [128]."""
        found = {i.name: i for i in self._model.graph.initializer}
        return np.array(onnx.numpy_helper.to_array(found["output.weight"])).reshape(-1)

    def original(self, sound: Sound) -> Float:
        """Return the probabilities of the whole network, run by ONNX Runtime."""
        zero = np.zeros((1, 1, 128), np.float32)
        found = self._whole.run(["speech_probs"], {"input": frames(sound), "h": zero, "c": zero})
        return np.asarray(found[0]).reshape(-1)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)
