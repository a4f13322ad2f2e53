"""The browser page: a static folder for any web server. The page generates a model's images in the browser.

This package imports the runtime.
"""

from .site import Site, write_site

__all__ = ["Site", "write_site"]
