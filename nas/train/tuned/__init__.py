"""A recipe tuned for one network: proposals by TPE, trials that fall out at rungs, an equal comparison at the end."""
