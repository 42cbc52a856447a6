"""Data sets of labelled face crops: `load()` reads every form that fervit reads into one `Dataset`."""

from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.data.loading import LoadKeywords, check_out, form_of, load, save
from fervit.data.splitting.writing import split_data

__all__ = [
    "PRIVATE_TEST",
    "PUBLIC_TEST",
    "SPLITS",
    "TRAIN",
    "Dataset",
    "LoadKeywords",
    "check_out",
    "form_of",
    "load",
    "save",
    "split_data",
]
