"""A Ray cluster of two simulated machines, each of them a process on this machine."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def machines():
    """The cluster. Tests may add machines, and remove them again."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
