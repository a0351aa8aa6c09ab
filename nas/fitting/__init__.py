"""From a table of labelled networks to a predictor, an honest judgement of it, and predictions."""

from nas.fitting.fit import Asked, fit_table
from nas.fitting.predictions import predict_table

__all__ = ["Asked", "fit_table", "predict_table"]
