"""A larger encoder that begins as a smaller one: the same function where it is wider, nearly where it is deeper."""

import pytest
import torch
from torch import Tensor

from destila.config import ShapeSettings
from destila.core.errors import UserError
from destila.models.growth import grow
from destila.models.importance import blocks_of, norms_of
from tiny import tiny_model

LAYERS, HEADS, HIDDEN, UNITS = 2, 2, 16, 32
FAMILIES = ("roberta", "bert", "xlm-roberta")


def small(architecture: str = "roberta", *, plain_norms: bool = False) -> object:
    """A reader whose gains and biases differ as trained ones do, or whose gains are all 1.25 without bias."""
    model = tiny_model(architecture, layers=LAYERS, heads=HEADS, hidden=HIDDEN)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for norm in norms_of(model) if plain_norms else ():
            norm.weight.fill_(1.25)
            norm.bias.zero_()
    return model.eval()


def shape(*, layers: int = LAYERS, times: int = 1, heads: int = 1, units: int = 1) -> ShapeSettings:
    return ShapeSettings(layers=layers, heads=HEADS * heads, hidden=HIDDEN * times, feed_forward=UNITS * units)


def logits(model: object) -> Tensor:
    ids = torch.randint(5, 100, (3, 24), generator=torch.Generator().manual_seed(1))
    output = model(input_ids=ids)  # type: ignore[operator]
    return torch.stack([output.start_logits, output.end_logits])


def largest(first: Tensor, second: Tensor) -> float:
    return float((first - second).detach().abs().max())


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize(
    ("times", "heads", "units"), [(1, 1, 1), (2, 2, 2), (2, 1, 2), (6, 2, 1), (6, 3, 2), (1, 1, 4)]
)
def test_what_is_wider_gives_the_same_logits(architecture: str, times: int, heads: int, units: int) -> None:
    model = small(architecture)
    larger = grow(model, shape(times=times, heads=heads, units=units), seed=1)
    assert larger.config.num_attention_heads == HEADS * heads
    assert larger.config.hidden_size == HIDDEN * times
    assert larger.config.intermediate_size == UNITS * units
    expected = logits(model)
    assert expected.std() > 0.1  # something to get wrong
    assert largest(logits(larger), expected) < 2e-5


def test_copies_get_different_gradients_and_part() -> None:
    larger = grow(small(), shape(times=4, heads=2, units=2), seed=1)
    logits(larger).log_softmax(-1)[..., 3].sum().backward()
    block = blocks_of(larger)[0]
    for module in (block.query, block.value, block.attention_output, block.up, block.down):
        first, second = module.weight.grad.chunk(2, dim=0)  # the copies of the outputs
        assert largest(first, second) > 0.05 * float(first.abs().max())


@pytest.mark.parametrize("layers", [3, 4, 5])
def test_what_is_deeper_gives_the_same_logits_where_gains_are_equal(layers: int) -> None:
    model = small(plain_norms=True)
    assert largest(logits(grow(model, shape(layers=layers), seed=1)), logits(model)) < 1e-3  # epsilon, 1e-5, adds up


def test_what_is_deeper_is_near_where_gains_differ() -> None:
    model = small()
    expected = logits(model).detach()
    silent = grow(model, shape(layers=4), seed=1)
    error = float((logits(silent) - expected).detach().var())
    for norm in norms_of(silent)[1:]:  # what the calibrated gains are good for
        if norm.bias.min() == norm.bias.max():
            norm.weight.data.fill_(1.0)
            norm.bias.data.zero_()
    careless = float((logits(silent) - expected).detach().var())
    assert error < 0.5 * careless
    assert error < 0.1 * float(expected.var())


def test_silent_layers_read_what_their_layer_reads_and_learn_to_write() -> None:
    model = small()
    larger = grow(model, shape(layers=4), seed=1)
    optimizer = torch.optim.SGD(larger.parameters(), 0.1)
    for _ in range(2):  # the first step moves what a silent layer writes, the second what it reads
        optimizer.zero_grad()
        logits(larger).log_softmax(-1)[..., 3].sum().backward()
        optimizer.step()
    theirs, ours = blocks_of(model), blocks_of(grow(model, shape(layers=4), seed=1))
    for place, moved in enumerate(blocks_of(larger)):
        source = theirs[place // 2]
        assert torch.equal(ours[place].up.weight, source.up.weight)
        assert not torch.equal(moved.up.weight, source.up.weight)
        assert bool(ours[place].down.weight.any()) == (place % 2 == 1)
        assert moved.down.weight.any()
        assert moved.attention_output.weight.any()


def test_the_seed_alone_decides() -> None:
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}  # type: ignore[attr-defined]
    torch.manual_seed(5)
    first = grow(model, shape(times=4, heads=2, units=2), seed=1).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn
    second, other = (grow(model, shape(times=4, heads=2, units=2), seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())  # type: ignore[attr-defined]


def test_a_shape_that_cannot_be_grown_into_is_refused_with_every_reason() -> None:
    with pytest.raises(UserError) as refused:
        grow(small(), ShapeSettings(layers=1, heads=3, hidden=24, feed_forward=40), seed=1)
    message = str(refused.value)
    assert message.startswith("model.shape")
    for part in ("hidden is 24, no multiple of 16", "heads is 3", "feed_forward is 40", "layers are 1, fewer than 2"):
        assert part in message
    with pytest.raises(UserError, match="heads of 4 channels are no multiple"):
        grow(small(), ShapeSettings(layers=2, heads=8, hidden=32, feed_forward=32), seed=1)
    with pytest.raises(UserError, match="the encoder is a modernbert"):
        grow(tiny_model("modernbert"), shape(times=4, heads=2, units=2), seed=1)


@pytest.mark.parametrize("layers", range(LAYERS, 8))
def test_the_layers_that_a_uniform_map_takes_are_the_old_ones(layers: int) -> None:
    model = small()
    ours = blocks_of(grow(model, shape(layers=layers), seed=1))
    loud = [place for place, block in enumerate(ours, start=1) if block.down.weight.any()]
    assert loud == [place * layers // LAYERS for place in (1, 2)]
    for place, theirs in zip(loud, blocks_of(model), strict=True):
        assert torch.equal(ours[place - 1].down.weight, theirs.down.weight)
