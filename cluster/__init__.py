"""Many machines, by Ray: images in bulk, and the HTTP service. Imports the runtime, and for the service the server.

connection.py   a cluster to be joined, or one of this machine alone
shards.py       the shards of `runtime.shards`, each a task
replicas.py     the service of `server`, many times behind one address

Every machine of the cluster has the same version of ganport; for shards it sees the folder that they go to.
"""

from .shards import write_shards_on_ray

__all__ = ["write_shards_on_ray"]
