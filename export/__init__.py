"""ganport's exporter: a Keras generator in, one verified .onnx file out."""

from .card import card_files, write_card
from .cost import Cost, explain, measure_costs
from .exporter import Proven, check_free, check_target, export_generator, model_file, prove, write_model
from .options import Options
from .sources import Source, load_source

__all__ = [
    "Cost",
    "Options",
    "Proven",
    "Source",
    "card_files",
    "check_free",
    "check_target",
    "explain",
    "export_generator",
    "load_source",
    "measure_costs",
    "model_file",
    "prove",
    "write_card",
    "write_model",
]
