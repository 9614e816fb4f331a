"""Decoders against the papers' formulas, and the widths that they take."""

import pytest
import torch

from sparring.models import ComplExDecoder, ConvEDecoder, DistMultDecoder, TransEDecoder

ALL_ENTITIES = torch.arange(11).unsqueeze(0)


def test_decoders_score_by_their_formulas():
    torch.manual_seed(0)
    h, r, entity = torch.randn(4, 6), torch.randn(4, 6), torch.randn(11, 6)
    lookup = lambda ids: entity[ids]
    whole = lambda vectors: torch.complex(*vectors.chunk(2, -1))
    got = lambda decoder: decoder(h, r, lookup)(ALL_ENTITIES)
    gaps = (h + r).unsqueeze(1) - entity
    torch.testing.assert_close(got(DistMultDecoder()), (h * r) @ entity.T)
    torch.testing.assert_close(
        got(ComplExDecoder()), ((whole(h) * whole(r)) @ whole(entity).conj().T).real
    )
    torch.testing.assert_close(got(TransEDecoder(norm=1)), -gaps.abs().sum(2))
    torch.testing.assert_close(got(TransEDecoder()), -gaps.norm(dim=2))


def test_conve_needs_an_image_that_a_filter_fits_on():
    with pytest.raises(ValueError, match="to an image of `height` rows, which must divide dim"):
        ConvEDecoder(dim=8, height=3)
    with pytest.raises(ValueError, match="a filter of 3 x 3 does not fit on an image of 8 x 2"):
        ConvEDecoder(dim=8, height=4)


def test_conve_accepts_vectors_of_its_own_width_only():
    decoder = ConvEDecoder(dim=8, height=2, filters=2)
    assert decoder.accepts(8)
    assert not decoder.accepts(16)
