"""Bulk generation and the HTTP service on many machines, with Ray.

This package imports the runtime and the server.

connection.py   connecting to a Ray cluster, or starting one on this machine
shards.py       write_shards_on_ray: writes the shards of `runtime.shards`, each in one Ray task
replicas.py     serve_on_ray: runs several replicas of the HTTP service of `server`

Every machine of the cluster must have the same version of ganport. To write shards, all machines need access
to the output folder.
"""

from .shards import write_shards_on_ray

__all__ = ["write_shards_on_ray"]
