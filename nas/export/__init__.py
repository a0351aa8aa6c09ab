"""Hand-over: weights, configuration, model card, ONNX and a stand-alone program, checked against the network."""
