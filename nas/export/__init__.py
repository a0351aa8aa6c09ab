"""Hand-over: weights, configuration, model card, ONNX and a stand-alone program, all checked."""
