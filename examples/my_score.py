"""A score of your own: ``netwright search --set search.score=examples.my_score:wide_and_shallow --data digits``.

The factory is called once per worker with what is searched for; the function that it returns scores one design.
"""

from math import log

from hardware.counts import count


def wide_and_shallow(objective):
    """Return a score: log parameters a convolution in a row. Higher is better; ``seed`` is for scores that draw."""

    def score(arch, seed):
        counts = count(arch, objective.input_shape, 10)
        return log(counts.params) / counts.convs

    return score
