"""The stand-alone program of an exported detector: NumPy, Pillow and ONNX Runtime, nothing of this package."""

PROGRAM = '''\
"""Find objects in images with the detector of this folder; written by netwright.

Needs numpy, pillow and onnxruntime.

    python detect.py photo.jpg --threshold 0.3 --draw found.png
    from detect import load, find; found = find(load(), pixels)        # pixels: (H, W, 3) uint8
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
FILL, CANDIDATES, MAX_DETECTIONS = 114, 1000, 100


def load():
    """The network, ready to run."""
    return onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])


def find(session, pixels, threshold=CONFIG["score_threshold"]):
    """Boxes (x1, y1, x2, y2 in pixels of the image), scores and class names, best first."""
    images, factors = prepare(pixels)
    boxes, scores = session.run(["boxes", "scores"], {"images": images})
    boxes, scores, labels = select(boxes[0], scores[0], threshold)
    return [
        {"class": CONFIG["classes"][label], "score": float(score), "box": [float(v) for v in box / factors]}
        for box, score, label in zip(boxes, scores, labels)
    ]


def prepare(pixels):
    """Shrink or enlarge into the network's input, proportions kept; normalise. Returns it and the factors."""
    _, height, width = CONFIG["input_shape"]
    factor = min(height / pixels.shape[0], width / pixels.shape[1])
    shape = max(1, round(pixels.shape[0] * factor)), max(1, round(pixels.shape[1] * factor))
    canvas = np.full((height, width, 3), FILL, dtype=np.uint8)
    canvas[: shape[0], : shape[1]] = Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.BILINEAR)
    mean, std = np.array(CONFIG["mean"]), np.array(CONFIG["std"])
    image = ((canvas * CONFIG["pixel_scale"] - mean) / std).astype(np.float32).transpose(2, 0, 1)
    factors = np.array([shape[1] / pixels.shape[1], shape[0] / pixels.shape[0]] * 2)
    return np.ascontiguousarray(image[None]), factors


def select(boxes, scores, threshold):
    """Threshold, then greedy suppression of duplicates, each class by itself."""
    flat = scores.reshape(-1)
    order = np.argsort(-flat, kind="stable")[:CANDIDATES]
    order = order[flat[order] > threshold]
    boxes, labels, best = boxes[order // scores.shape[1]], order % scores.shape[1], flat[order]
    kept = []
    for i in range(len(order)):
        same = [k for k in kept if labels[k] == labels[i]]
        if not same or overlap(boxes[i], boxes[same]).max() <= CONFIG["iou_threshold"]:
            kept.append(i)
    kept = kept[:MAX_DETECTIONS]
    return boxes[kept], best[kept], labels[kept]


def overlap(box, others):
    """Intersection over union of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    return both / np.maximum(area - both, 1e-9)


def main():
    parser = argparse.ArgumentParser(description="Find objects; one JSON object per image on stdout.")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--threshold", type=float, default=CONFIG["score_threshold"])
    parser.add_argument("--draw", type=Path, help="write the (first) image with its boxes")
    options = parser.parse_args()
    session = load()
    for at, path in enumerate(options.images):
        picture = Image.open(path).convert("RGB")
        found = find(session, np.asarray(picture), options.threshold)
        print(json.dumps({"image": str(path), "objects": found}))
        if options.draw and at == 0:
            draw = ImageDraw.Draw(picture)
            for one in found:
                draw.rectangle(one["box"], outline="red")
                draw.text(one["box"][:2], f"{one['class']} {one['score']:.2f}", fill="yellow")
            picture.save(options.draw)


if __name__ == "__main__":
    main()
'''
