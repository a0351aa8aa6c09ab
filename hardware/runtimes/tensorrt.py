"""TensorRT on an NVIDIA GPU: an engine built from the ONNX model, strongly typed, so that precision is the model's.

Written against the TensorRT 10 and 11 Python interface; no GPU was at hand to run it.
"""

from __future__ import annotations

import tensorrt
import torch

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from hardware.runtimes.onnx_input import check_image_input
from hardware.runtimes.onnx_precision import model_in_precision
from hardware.runtimes.torch_module import random_images


def version() -> str:
    """Version of the library."""
    return str(tensorrt.__version__)


def load(source: Source, device: Device) -> TensorrtEngine:
    """The engine for the device's batch; building it takes seconds to minutes.

    Raises: RuntimeRefused: no CUDA device, or TensorRT cannot parse or build the model.
    """
    if not torch.cuda.is_available():
        raise RuntimeRefused(f"{source.name}: TensorRT needs a CUDA device, and PyTorch finds none here")
    check_image_input(source, device)
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = tensorrt.OnnxParser(network, logger)
    model = model_in_precision(source, device)
    parsed = parser.parse_from_file(model) if isinstance(model, str) else parser.parse(model)
    if not parsed:
        raise RuntimeRefused(f"{source.name}: TensorRT cannot parse it: {parser.get_error(0).desc()}")
    settings = builder.create_builder_config()
    settings.clear_flag(tensorrt.BuilderFlag.TF32)  # float32 means float32
    _fix_batch(builder, settings, network, source, device)
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise RuntimeRefused(f"{source.name}: TensorRT cannot build an engine of it; see its messages on stderr")
    return TensorrtEngine(tensorrt.Runtime(logger).deserialize_cuda_engine(plan), source, device)


def _fix_batch(
    builder: tensorrt.Builder,
    settings: tensorrt.IBuilderConfig,
    network: tensorrt.INetworkDefinition,
    source: Source,
    device: Device,
) -> None:
    """Tell an engine whose batch is open how large it is."""
    image_input = network.get_input(0)
    if -1 in image_input.shape:
        shape = (device.batch, *source.input_shape)
        profile = builder.create_optimization_profile()
        profile.set_shape(image_input.name, shape, shape, shape)
        settings.add_optimization_profile(profile)


class TensorrtEngine:
    """An engine with its input and output in the memory of the GPU."""

    def __init__(self, engine: tensorrt.ICudaEngine, source: Source, device: Device) -> None:
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        [image_input] = [n for n in names if engine.get_tensor_mode(n) == tensorrt.TensorIOMode.INPUT]
        outputs = [n for n in names if n != image_input]
        self._engine = engine
        self._context = engine.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._images = torch.from_numpy(random_images(source, device)).cuda()
        self._context.set_input_shape(image_input, tuple(self._images.shape))
        self._context.set_tensor_address(image_input, self._images.data_ptr())
        self._outputs = [torch.empty(tuple(self._context.get_tensor_shape(n)), device="cuda") for n in outputs]
        for name, tensor in zip(outputs, self._outputs, strict=True):
            self._context.set_tensor_address(name, tensor.data_ptr())

    def run(self) -> None:
        """One inference on the allocated input; waits for the GPU."""
        self._context.execute_async_v3(self._stream.cuda_stream)
        self._stream.synchronize()

    def run_once(self, images: Images) -> Images:
        """The first output for these images."""
        self._images.copy_(torch.from_numpy(images))
        torch.cuda.synchronize()
        self.run()
        output: Images = self._outputs[0].cpu().numpy()
        return output
