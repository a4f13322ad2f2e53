"""ganport's exporter: a Keras generator in, one verified .onnx file out."""

from .exporter import Options, export_generator
from .sources import Source, load_source

__all__ = ["Options", "Source", "export_generator", "load_source"]
