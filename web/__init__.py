"""The browser page: a static folder that draws a generator's images in the browser itself, on any web server.

Imports the runtime only.
"""

from .site import Site, write_site

__all__ = ["Site", "write_site"]
