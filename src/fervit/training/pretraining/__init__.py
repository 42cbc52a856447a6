"""Masked-autoencoder pre-training on unlabelled faces: He et al. 2021, arXiv 2111.06377.

`mae` turns a ViT into transformers' `ViTMAEForPreTraining` and back, `run` trains it and writes a plain Hugging
Face ViT folder that every recipe can start from; the settings are `fervit.config.pretraining`.
"""
