"""What the tests of the command share: a user's own module, structures and checks."""

import sqlite3

STRUCTURE = "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,2,8,1)SuperConvK1BNRELU(16,32,1,1)"

ONE = STRUCTURE.replace("(3", "(1")

WIDE = "SuperConvK1BNRELU(1,65536,1,1)SuperConvK1BNRELU(65536,65536,1,1)"

QUICK = ("--no-train", "--macs", "500k", "--evaluations", "60", "--engine", "serial")

USER = """
import os

from search_spaces.arch import Architecture, Block
from search_spaces.space import Stage, StageSpace, Variant

class Space(StageSpace):
    def __init__(self):
        conv = (Variant("conv"),)
        super().__init__("mine", (Stage(conv, (8, 16, 24), (3, 5)), Stage(conv, (16, 32, 48), stride=2)))

class Four(StageSpace):
    def __init__(self):
        super().__init__("four", (Stage((Variant("conv"),), (8, 16, 24, 32)),))

class Lonely(StageSpace):
    def __init__(self):
        super().__init__("lonely", (Stage((Variant("conv"),), (8,)),))

class Invalid(StageSpace):
    def __init__(self):
        super().__init__("invalid", (Stage((Variant("conv"),), (8, 16), (4,)),))

class Seeded(Space):
    seed = 7

def broken(objective):
    return lambda arch, seed: {}["no such key"]

def deadly(objective):
    return lambda arch, seed: os._exit(7) if arch.blocks[0].channels == 8 else float(arch.blocks[0].channels)

def early(objective):
    raise OSError(5, "no luck")

def number(objective):
    return 3.0

def not_a_number(objective):
    return lambda arch, seed: float("nan")

def talkative(objective):
    import os, subprocess, sys
    print("from the factory")
    def score(arch, seed):
        print("from the score")
        os.write(1, b"from below Python\\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        return 1.0
    return score

class Talkative(Space):
    def sample(self, rng):
        print("from the space")
        return super().sample(rng)

def images():
    import numpy as np
    print("from the data")
    return np.zeros((40, 8, 8)), np.arange(40) % 2

def no_images():
    return {}["no such key"]

def interrupting(objective):
    def score(arch, seed):
        raise KeyboardInterrupt
    return score

def widest(objective):
    return lambda arch, seed: float(sum(block.channels for block in arch.blocks))
"""


def refused(ended, code, *parts):
    """One line on stderr that holds these parts, nothing on stdout."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1, ended.err
    assert all(part in ended.err for part in parts), ended.err
    return True


def unfinish(path, *kinds):
    """Take events back, as if it had been killed just before."""
    connection = sqlite3.connect(path)
    with connection:
        for kind in kinds:
            connection.execute("DELETE FROM event WHERE kind = ?", (kind,))
    connection.close()
