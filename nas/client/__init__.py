"""A server's searches from Python; needs neither torch nor Ray."""

from nas.client.client import Client
from nas.client.connection import ServerGone, ServerRefused
from nas.client.remote_run import RemoteRun

__all__ = ["Client", "RemoteRun", "ServerGone", "ServerRefused"]
