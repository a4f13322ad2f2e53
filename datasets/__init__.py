"""Images from a named set, a folder or a file, for training and evaluation.

A named set is a public data set that is loaded by a name, such as "mnist".

loading.py      load_images returns the Dataset for a name or a path
dataset.py      Dataset holds images, classes and a fingerprint
named.py        the named sets: labels, licences, search and download
folder.py       reading folders of images
array_files.py  reading IDX and NPZ files
npz.py          reading .npz files that may be damaged
"""

from .dataset import Dataset, Preparation
from .loading import load_images
from .named import LABELS, NAMED_DATASETS

__all__ = ["LABELS", "NAMED_DATASETS", "Dataset", "Preparation", "load_images"]
