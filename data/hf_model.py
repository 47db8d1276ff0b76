"""A Hugging Face causal language model: loaded, run over a text, and checked against its own attention."""
import contextlib

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from hf_message import Refusal

PREFIX = 256  # tokens of the trial before the work


def version_at_least(major, minor):
    return tuple(int(part) for part in transformers.__version__.split(".")[:2]) >= (major, minor)


def load(location, compute, device, device_map):
    """The model in evaluation mode, with the attention that it has by itself."""
    dtype = compute if compute == "auto" else getattr(torch, compute)
    options = {"dtype" if version_at_least(4, 56) else "torch_dtype": dtype}
    if device_map:
        return AutoModelForCausalLM.from_pretrained(**location, **options, device_map=device_map).eval()
    return AutoModelForCausalLM.from_pretrained(**location, **options).eval().to(device)


def text_config(location):
    """The configuration of the language model, before any weight is read."""
    return AutoConfig.from_pretrained(**location).get_text_config()


def two_widths(keys, values):
    return (f"the model's keys have {keys} numbers and its values {values} (as in multi-head latent attention), a dump has one "
            "width; --pad-values fills the narrower up with zeros")


def no_attention(layer, config, usable):
    if not usable:
        return "no layer of the model has softmax attention, so there is nothing to dump"
    kinds = layer_kinds(config)
    kind = f" ({kinds[layer]})" if layer < len(kinds) else ""
    return f"layer {layer} has no softmax attention{kind}; the layers that have it: --layers {','.join(map(str, usable))}"


def layer_kinds(config):
    return getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or []


def refuse_by_config(config, layers, pad_values):
    """Refuses what the configuration tells, before the weights are read; the trial of a prefix finds the rest."""
    kinds = layer_kinds(config)
    softmax = [n for n, kind in enumerate(kinds) if kind not in ("linear_attention", "mamba", "conv", "recurrent")]
    for layer in layers or range(len(kinds)):
        if layer < len(kinds) and layer not in softmax:
            raise Refusal(no_attention(layer, config, [n for n in layers or softmax if n in softmax] or softmax))
    keys, values = getattr(config, "qk_nope_head_dim", None), getattr(config, "v_head_dim", None)
    if keys and values and not pad_values and keys + (getattr(config, "qk_rope_head_dim", None) or 0) != values:
        raise Refusal(two_widths(keys + (getattr(config, "qk_rope_head_dim", None) or 0), values))


class Runner:
    def __init__(self, model):
        self.model, self.head = model, model.get_output_embeddings()
        if self.head is None:
            raise Refusal(f"{type(model).__name__} has no output embeddings: it is not a causal language model")

    @contextlib.contextmanager
    def _last_logits_only(self, kept):
        """Keeps the final hidden states and computes the logits of the last token alone: they are large."""
        original, own = self.head.forward, "forward" in vars(self.head)

        def forward(hidden):
            kept.append(hidden[0])
            return original(hidden[:, -1:])

        self.head.forward = forward
        try:
            yield
        finally:
            if own:
                self.head.forward = original
            else:
                del self.head.forward

    def run(self, ids):
        """(final hidden states [tokens, hidden], logits of the last token [vocabulary])."""
        kept, where = [], self.model.get_input_embeddings().weight.device
        tokens = torch.tensor([ids], device=self.model.device if where.type == "meta" else where)
        with torch.no_grad(), self._last_logits_only(kept):
            logits = self.model(tokens, use_cache=False).logits[0, -1]
        if not kept:
            raise Refusal(f"{type(self.model).__name__} does not compute its logits with its output embeddings")
        return kept[-1], logits

    def perplexity(self, hidden, logits, ids):
        """A few rows of logits at a time; None if the model makes its logits in a way that is not known here."""
        if len(ids) < 2:
            return None
        config = self.model.config.get_text_config()
        cap, scale = getattr(config, "final_logit_softcapping", None), 1.0

        def rows(states):
            raw = self.head(states).float() * scale
            return cap * torch.tanh(raw / cap) if cap else raw

        with torch.no_grad():
            logits = logits.float()
            if not cap:  # Granite and Cohere scale their logits
                raw = rows(hidden[-1:])[0]
                scale = float((raw.double() @ logits.double()) / (raw.double() @ raw.double()))
            if not torch.allclose(rows(hidden[-1:])[0], logits, rtol=1e-2, atol=1e-3 * float(logits.abs().max())):
                return None
            targets, total = torch.tensor(ids[1:], device=hidden.device), 0.0
            for begin in range(0, len(ids) - 1, 512):
                part = rows(hidden[begin : min(begin + 512, len(ids) - 1)])
                target = targets[begin : begin + len(part)].to(part.device)
                total += torch.nn.functional.cross_entropy(part, target, reduction="sum").item()
        return float(torch.tensor(total / (len(ids) - 1)).exp())


def self_check(runner, stand_in, ids, logits):
    """Refuses if the model's own attention gives other logits for the last of these tokens than the stand-in gave."""
    own = [(config, config._attn_implementation) for config in stand_in.configs]
    if stand_in.has_interface:
        stand_in.choose("eager")
    try:
        expected = runner.run(ids)[1].float()
    finally:
        for config, implementation in own:
            config._attn_implementation = implementation
    error = float((logits.float() - expected).norm() / expected.norm())
    limit = {torch.float32: 1e-3, torch.float16: 3e-2}.get(runner.model.dtype, 1e-1)
    if not error <= limit:
        raise Refusal(f"self-check: with the attention that is recorded the logits after {len(ids)} tokens differ from the "
                      f"model's own by {error:.2g} (limit {limit:g} for {str(runner.model.dtype)[6:]}), so the dump would not "
                      "be what the model computes; --compute float32 rules out rounding, --no-self-check dumps all the same")

