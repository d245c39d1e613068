"""What is recorded of a forward pass is what transformers' eager attention would have given."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

import destila.models.forward as forward_module
import tiny
from destila.models.files import LoadedModel, SpanModule, forward, random_model, span_logits, unwrapped
from readers import REAL, SMALL, TOKENS, Wrapper, four_layers, inputs


@pytest.fixture(params=tiny.ARCHITECTURES)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    return four_layers(tmp_path / "reader", request.param)


def theirs(reader: LoadedModel, ids: torch.Tensor, mask: torch.Tensor) -> object:
    """transformers' own eager forward pass with everything recorded."""
    model = AutoModelForQuestionAnswering.from_pretrained(reader.name, attn_implementation="eager")
    extras = {}
    if model.config.model_type == "bert":
        extras["token_type_ids"] = torch.zeros_like(ids)
        for row, real in enumerate(REAL):
            extras["token_type_ids"][row, 2:real] = 1
    with torch.no_grad():
        return model.eval()(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, output_attentions=True, **extras
        )


def test_forward_equals_transformers_eager(reader: LoadedModel) -> None:
    separator = reader.tokenizer.token_to_id("[SEP]")
    ids, mask = inputs(reader.model, separator=separator)
    expected = theirs(reader, ids, mask)
    with torch.no_grad():
        ours = forward(reader.model, ids, mask, hidden_layers=range(5), attention_layers=range(1, 5))
        lazy = forward(reader.model, ids, mask, attention_layers=range(1, 5), lazy=True).attention
    real = mask.bool()
    assert torch.allclose(ours.start_logits[real], expected.start_logits[real], atol=1e-5)
    assert torch.allclose(ours.end_logits[real], expected.end_logits[real], atol=1e-5)
    for layer in range(5):
        assert torch.allclose(ours.hidden[layer][real], expected.hidden_states[layer][real], atol=1e-5)
    for layer in range(1, 5):
        attention = ours.attention[layer].transpose(1, 2)[real]  # real queries
        assert torch.allclose(attention, expected.attentions[layer - 1].transpose(1, 2)[real], atol=1e-6)
        assert torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-5)
        assert ours.attention[layer].isfinite().all()
        assert torch.allclose(lazy[layer].compute().transpose(1, 2)[real], attention, atol=1e-6)
        padded_keys = ours.attention[layer][2, :, : REAL[2], REAL[2] :]
        assert (padded_keys == 0).all()


def test_only_what_is_asked_is_kept(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    all_of_it = forward(reader.model, ids, mask, hidden_layers=range(5), attention_layers=range(1, 5))
    some = forward(reader.model, ids, mask, hidden_layers=(0, 4), attention_layers=(3,))
    assert sorted(some.hidden) == [0, 4]
    assert sorted(some.attention) == [3]
    real = mask.bool()  # a padded query that sees no key is uniform in a recorded layer and zero in the others
    assert torch.allclose(some.hidden[4][real], all_of_it.hidden[4][real], atol=1e-5)
    assert torch.allclose(some.attention[3].transpose(1, 2)[real], all_of_it.attention[3].transpose(1, 2)[real])
    nothing = forward(reader.model, ids, mask)
    assert not nothing.hidden
    assert not nothing.attention
    assert torch.allclose(nothing.start_logits[real], all_of_it.start_logits[real], atol=1e-5)


def test_maps_are_taken_before_dropout_and_carry_gradients(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    still = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    reader.model.train()  # the dropout of the embeddings lies before the first map: off
    embeddings = [
        module for name, module in reader.model.named_modules() if name.endswith(("embeddings.dropout", "drop"))
    ]
    for module in embeddings:
        module.p = 0.0
    trained = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    assert torch.allclose(still, trained, atol=1e-6)
    trained.square().sum().backward()
    gradients = [parameter.grad for parameter in reader.model.parameters() if parameter.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_gradient_checkpointing_changes_no_gradient(reader: LoadedModel) -> None:
    def gradient() -> torch.Tensor:
        reader.model.zero_grad()
        outputs = forward(reader.model, ids, mask, hidden_layers=(0, 2, 4), attention_layers=(2, 3))
        sums = forward(
            reader.model, ids, mask, attention_layers=(1, 4), reduce=lambda layer, map: layer * map.square().sum()
        )
        states = [*outputs.hidden.values(), *outputs.attention.values(), *sums.attention.values(), outputs.start_logits]
        sum((state * mask.sum() / state.numel()).square().sum() for state in states).backward()
        return torch.cat([p.grad.flatten() for p in reader.model.parameters() if p.grad is not None])

    for module in reader.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        setattr(reader.model.config, name, 0.0)
    for module in reader.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    ids, mask = inputs(reader.model)
    reader.model.train()
    plain = gradient()
    reader.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    assert torch.allclose(gradient(), plain, rtol=1e-4, atol=1e-6)


def test_a_reduced_map_has_the_gradient_of_the_map(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)

    def gradient(reduced: bool) -> torch.Tensor:
        def energy(layer: int, attention: torch.Tensor) -> torch.Tensor:
            return layer * attention.square().sum()

        reader.model.zero_grad()
        torch.manual_seed(7)  # the same dropout twice: also within the recomputed part
        reduce = energy if reduced else None
        outputs = forward(reader.model, ids, mask, attention_layers=(1, 3), reduce=reduce)
        kept = outputs.attention if reduced else {layer: energy(layer, map) for layer, map in outputs.attention.items()}
        (sum(kept.values()) + outputs.end_logits[mask.bool()].square().sum()).backward()
        return torch.cat([p.grad.flatten() for p in reader.model.parameters() if p.grad is not None])

    reader.model.train()
    expected = gradient(False)
    assert (gradient(True) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_maps_are_fp32_under_autocast(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    exact = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded.sum(-1), torch.ones(()), atol=1e-5)
    assert (exact - rounded).abs().max() < 0.1


def test_recording_leaves_nothing_behind_and_nests(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    inner = []
    handle = reader.model.base_model.register_forward_hook(
        lambda *_: inner.append(forward(other, ids, mask, attention_layers=(1,))) if not inner else None
    )
    other = random_model(SMALL, architecture="roberta", vocabulary_size=400, pad_id=1, longest=128, dropout=0.0, seed=1)
    outer = forward(reader.model, ids, mask, attention_layers=(4,))
    handle.remove()
    assert sorted(outer.attention) == [4]
    assert sorted(inner[0].attention) == [1]
    assert not forward(reader.model, ids, mask).attention


def test_a_wrapped_model_is_called_through_its_wrapper() -> None:
    model = random_model(SMALL, architecture="roberta", vocabulary_size=60, pad_id=1, longest=28, dropout=0.0, seed=1)
    wrapper = Wrapper(model)
    ids, mask = inputs(model)
    outputs = forward(wrapper, ids, mask, hidden_layers=(1,), attention_layers=(2,))
    assert wrapper.calls == 1
    assert unwrapped(wrapper) is model
    assert torch.equal(outputs.attention[2], forward(model, ids, mask, attention_layers=(2,)).attention[2])


def test_span_module_exports_with_dynamic_shapes(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model, separator=reader.tokenizer.token_to_id("[SEP]"))
    module = SpanModule(reader.model)
    dimensions = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("tokens", min=2, max=100)}
    program = torch.export.export(module, (ids, mask), dynamic_shapes=(dimensions, dimensions), strict=False)
    for rows, tokens in ((3, TOKENS), (1, 7)):
        exported = program.module()(ids[:rows, :tokens], mask[:rows, :tokens])
        expected = span_logits(reader.model, ids[:rows, :tokens], mask[:rows, :tokens])
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(exported, expected, strict=True))


def trained_in_bf16(reader: LoadedModel, mask: torch.Tensor) -> list[torch.Tensor]:
    """Logits at real tokens, and the gradients of a function of them."""
    ids, _ = inputs(reader.model)
    reader.model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = forward(reader.model, ids, mask)
    logits = torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)[mask.bool()].float()
    logits.square().mean().backward()
    return [logits.detach(), *(p.grad for p in reader.model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("padded", [True, False])
def test_the_fast_attention_of_bf16_on_a_cpu_is_the_kernels(
    reader: LoadedModel, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    by_products = forward_module._by_products
    monkeypatch.setattr(
        forward_module, "_by_products", lambda *args, **more: calls.append(1) or by_products(*args, **more)
    )
    mask = inputs(reader.model)[1]
    mask = mask if padded else torch.ones_like(mask)
    reader.model.eval()  # no dropout
    fast = trained_in_bf16(reader, mask)
    sliding = reader.model.config.model_type == "modernbert"  # but for its global layers
    assert 0 < len(calls) < 4 if sliding else len(calls) == 4
    monkeypatch.setattr(forward_module, "_products_are_faster", lambda *_, **__: False)
    kernel = trained_in_bf16(reader, mask)
    assert len(fast) == len(kernel)
    whole = max(float(gradient.norm()) for gradient in kernel[1:])
    for ours, theirs in zip(fast, kernel, strict=True):  # bf16 keeps 8 bits, 0.4 % of each number, over four layers
        # The gradient of a key's bias is zero but for rounding, so it is measured against that of all weights.
        assert (ours - theirs).norm() <= 0.06 * theirs.norm() + 0.01 * whole


@pytest.mark.parametrize("masked", [True, False])
def test_attention_by_products_is_sdpa_with_its_gradients(masked: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    given = [torch.randn(3, 2, TOKENS, 8, generator=generator).bfloat16() for _ in range(4)]
    mask = (torch.arange(TOKENS) < torch.tensor(REAL)[:, None])[:, None, None].expand(3, 1, TOKENS, TOKENS)
    mask = mask if masked else None
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        inputs = [each.detach().to(dtype).requires_grad_() for each in given[:3]]
        if dtype == torch.bfloat16:
            output = forward_module._by_products(*inputs, mask, scaling=0.3).transpose(1, 2)
        else:
            output = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=mask, scale=0.3)
        output.backward(given[3].to(dtype))
        found.append([output.detach().double(), *(each.grad.double() for each in inputs)])
    for ours, exact in zip(*found, strict=True):
        assert (ours - exact).norm() <= 0.01 * exact.norm()


def test_fp32_and_what_learns_nothing_stay_with_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = four_layers(tmp_path / "reader", "roberta")
    monkeypatch.setattr(forward_module, "_by_products", lambda *_, **__: pytest.fail("not for these"))
    ids, mask = inputs(reader.model)
    forward(reader.model.eval(), ids, mask)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            forward(reader.model, ids, mask)
        forward(reader.model.train(), ids, mask)  # dropout, which the products have not
