"""The browser page: a folder of static files that any web server can serve.

The page generates a model's images in the browser. This package imports the runtime.
"""

from .site import Site, write_site

__all__ = ["Site", "write_site"]
