"""What settings mean where the docstring of their class does not say; a test keeps the two complete."""

from __future__ import annotations

SECTIONS = {
    "constraints": "Upper limits on the network; any combination, null for no limit.",
    "latency": "How the device's latency table is made when none is cached, and how sure a prediction must be.",
    "predictor": "For search.score: predictor; the networks that are trained for it, and how they are chosen.",
    "supernet": "For search.score: binas; its supernet.",
    "binas": "For search.score: binas; what is measured in the supernet, and how networks are proposed.",
}

MEANINGS = {
    "version": "Of this format.",
    "data": "digits, fashion-mnist, a folder with a sub-folder per class, IDX files, an .npz file with x and y, or "
    "package.module:function.",
    "space": "A name of `netwright space ls`, or package.module:Space; auto suits the images.",
    "device": "Holds the latency budget: RUNTIME[:threads=N,batch=N,precision=P], or a name of `netwright device ls`.",
    "constraints.latency": "Of one call on the device; held by the upper bound of the prediction, then measured.",
    "constraints.params": "Parameters.",
    "constraints.macs": "Multiply-accumulates of one image.",
    "constraints.memory": "Peak activation memory of one image in float32.",
    "constraints.depth": "Sub-layers.",
    "also": "Further devices with their own limits, each {device: NAME, latency: 2ms}.",
    "search.algorithm": "How candidates are proposed; see docs/algorithms.md.",
    "search.evaluations": "Candidates that are looked at, kept and rejected ones.",
    "search.seconds": "The search stops after this time; null for none but evaluations.",
    "search.population": "Networks that the search keeps as parents.",
    "search.lookahead": "Proposals may be this far ahead of the oldest result; the outcome does not depend on workers.",
    "latency.profile": "Time for measuring kernels and networks of the space on the device.",
    "latency.measure": "The longest that one measurement of finalists, baselines or the exported file may take.",
    "latency.confidence": "That a latency is below the predicted upper bound.",
    "finalists.measured": "Of the best candidates, measured whole on the device.",
    "finalists.trained": "Of these, trained briefly side by side.",
    "finalists.epochs": "Of each of these trainings, at most.",
    "recipe": "Of the winner's training; what is left out has the default below.",
    "guard.seeds": "Trainings of each baseline of equal latency; 0 turns the comparison off.",
    "engine.kind": "Where scores are computed; auto takes ray when that pays.",
    "engine.workers": "Ray workers; null takes one per CPU.",
    "engine.address": "Of a running Ray cluster, for example auto or 10.0.0.1:6379; null starts Ray here when needed.",
    "callbacks": "Also told of the run: jsonl, csv, tensorboard, mlflow, wandb; a name or {name: {option: value}}.",
    "train": "Train the winner, export it and verify the file; false stops after the finalists are measured.",
    "train_device": "For training: cpu, cuda or cuda:N.",
    "train_threads": "Threads of a training on the CPU; the weights depend on it in the last bits.",
    "seed": "Of everything random.",
    "store": "Keep the rows on a server, postgresql://user@host/database; null keeps them in the run directory.",
}
