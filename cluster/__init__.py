"""Images in bulk on many machines, by Ray. Imports the runtime only.

Every machine of the cluster has ganport's runtime, and sees the folder that the shards go to.
"""

from .shards import write_shards_on_ray

__all__ = ["write_shards_on_ray"]
