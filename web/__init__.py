"""Images in the browser: a page for any web server, and a JavaScript module for your own application.

Both generate a model's images in the browser. This package imports the runtime.
"""

from .site import Site, write_module, write_site

__all__ = ["Site", "write_module", "write_site"]
