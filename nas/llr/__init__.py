"""LLR-NAS: a network chosen from the effects of single changes to a trained master, exactly under a latency budget.

Source: Lin, Chen, Sun, Li, Jin 2020, arXiv 2006.14090, section 4 (local linear regression; the authors' code was never
released). Steps: train a master; train local variants of each of its stages inside the frozen master, by distilling
the stage; measure what each single replacement does to the validation loss; fit a linear model of it in the stage's
parameters; take the sum of block terms for any combination; choose the best one within the latency budget; train it.

Deviations: the regression is a ridge with leave-one-out error and uncertainty; each replacement is judged beside the
master's own design trained as briefly; variants of another width reach the master's through a 1x1 adapter that the
chosen network does not have; latency is a sum of block terms and the choice is exact, where the authors sampled; a
standard deviation is added to each predicted change, since the choice would else seek what is least known.
"""
