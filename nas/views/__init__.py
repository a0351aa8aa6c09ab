"""A run, its candidates and the devices as plain JSON-ready data: what the service, the page and its export show.

Every view costs the same with a million candidates as with a thousand; what must be known of all of them is kept up
with the run file in ``nas.views.digest``.
"""

from nas.views.best import best
from nas.views.candidate import UnknownCandidate, candidate
from nas.views.compare import compare
from nas.views.devices import device, devices
from nas.views.estimate import estimate
from nas.views.overview import listing, overview
from nas.views.page import InvalidQuery, page
from nas.views.predictors import predictors
from nas.views.scatter import pareto, scatter

__all__ = [
    "InvalidQuery",
    "UnknownCandidate",
    "best",
    "candidate",
    "compare",
    "device",
    "devices",
    "estimate",
    "listing",
    "overview",
    "page",
    "pareto",
    "predictors",
    "scatter",
]
