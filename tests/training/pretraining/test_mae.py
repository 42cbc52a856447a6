"""A ViT as a masked autoencoder and back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fervit.errors import ConfigError
from fervit.models.architectures.vit import build_backbone
from fervit.training.pretraining.mae import build_autoencoder, reconstruct, reconstruction_image, to_backbone
from tests.helpers.pretraining import features, pretrain_config


def test_the_encoder_computes_what_the_vit_computes_when_it_sees_every_patch(weights: Path) -> None:
    start, _ = build_backbone(weights, 32)
    model, _ = build_autoencoder(weights, pretrain_config())
    model.config.mask_ratio = 0.0
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # noise that rises keeps the patches in their order
        seen = model.vit.train(False)(pixel_values=x, noise=torch.arange(16.0).expand(2, -1)).last_hidden_state
    torch.testing.assert_close(seen, features(start))


def test_the_decoder_knows_where_a_masked_patch_lies(weights: Path) -> None:
    model, _ = build_autoencoder(weights, pretrain_config())
    positions = model.decoder.decoder_pos_embed[0]  # transformers 5.23 leaves them at zero
    assert len(torch.unique(positions, dim=0)) == 1 + 16
    assert not model.decoder.decoder_pos_embed.requires_grad
    assert model.decoder.mask_token.abs().sum() > 0


def test_masked_patches_only_count(weights: Path) -> None:
    model, _ = build_autoencoder(weights, pretrain_config())
    x = torch.randn(4, 3, 32, 32)
    output = model(pixel_values=x, noise=torch.rand(4, 16))
    assert output.mask.sum(dim=1).tolist() == [12.0] * 4
    output.logits.retain_grad()
    output.loss.backward()
    touched = output.logits.grad.abs().sum(dim=-1) > 0
    assert torch.equal(touched, output.mask > 0)
    patches = model.patchify(x)
    normalised = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    error = ((output.logits - normalised) ** 2).mean(-1)
    torch.testing.assert_close(output.loss, error[output.mask > 0].mean())


@pytest.mark.parametrize("norm_pix", [True, False])
def test_seen_patches_of_a_reconstruction_are_the_originals(weights: Path, norm_pix: bool) -> None:
    model, _ = build_autoencoder(weights, pretrain_config(norm_pix=norm_pix))
    x = torch.randn(2, 3, 32, 32)
    filled, mask = reconstruct(model, x, torch.rand(2, 16))
    seen = (mask == 0).expand_as(x)
    assert mask.mean() == 0.75
    torch.testing.assert_close(filled[seen], x[seen])
    assert (filled != x)[~seen].float().mean() > 0.99


def test_the_image_shows_masked_reconstructed_and_original_rows(weights: Path) -> None:
    model, preprocess = build_autoencoder(weights, pretrain_config())
    x = torch.full((3, 3, 32, 32), 1.0)  # white
    picture = reconstruction_image(model, x, preprocess)
    faces = np.asarray(picture)[:, -(3 * (96 + 2) - 2) :]
    cells = faces[12:96:24, 12:96:24, 0]  # the middle of each of the first face's 4 x 4 patches
    assert (cells == 128).mean() == 0.75  # grey where masked
    assert (cells[cells != 128] == 255).all()
    assert (faces[-96:, :96] == 255).all()


def test_unpretrained_round_trip_keeps_every_tensor(weights: Path) -> None:
    start, _ = build_backbone(weights, 32)
    model, _ = build_autoencoder(weights, pretrain_config())
    there_and_back = to_backbone(model).state_dict()
    assert there_and_back.keys() == start.state_dict().keys()
    assert all(torch.equal(there_and_back[name], tensor) for name, tensor in start.state_dict().items())


def test_a_mask_that_leaves_nothing_to_see_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match="leaves none of the 16 patches to see"):
        build_autoencoder(weights, pretrain_config(mask_ratio=0.95))
