"""Images from a named set, a folder or a file, for training and evaluation.

A named set is a public data set that is loaded by a name, such as "mnist".

loading.py      load_images returns the Dataset for a name or a path
dataset.py      Dataset holds images, classes and a fingerprint
preparation.py  Preparation: size, crop, channels and background
survey.py       what the images of a data set are like, before training
named.py        the named sets: labels, licences, search and download
folder.py       folders of images: all at once, image by image, or from the cache
listing.py      finding the images of a folder
decoding.py     decoding image files, within limits
fitting.py      cropping, padding, resizing and converting images
image_cache.py  the cache of decoded images
duplicates.py   finding equal and nearly equal images
array_files.py  reading IDX and NPZ files
npz.py          reading .npz files that may be damaged
"""

from .dataset import Dataset
from .loading import load_images
from .named import LABELS, NAMED_DATASETS
from .preparation import Preparation

__all__ = ["LABELS", "NAMED_DATASETS", "Dataset", "Preparation", "load_images"]
