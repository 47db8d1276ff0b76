"""The attention that stands in for a model's own: it hands on what it is given, then computes it.

Most models call the attention that their configuration names; the others call torch's
scaled_dot_product_attention themselves, which is replaced while the stand-in is in use.
"""
import contextlib
import dataclasses
import sys

import torch
from transformers import AttentionInterface

from hf_mask import ELSE, AttentionMaskInterface, MaskReader, expected
from hf_message import Refusal, warn

NAME = "anchor_dump"
torch_attention = torch.nn.functional.scaled_dot_product_attention


@dataclasses.dataclass
class Given:
    """What the attention of one layer was given."""

    layer: int
    module: torch.nn.Module
    query: torch.Tensor  # [heads, tokens, dim]; key and value alike
    key: torch.Tensor
    value: torch.Tensor
    scale: float
    window: int  # keys that a row sees, itself included; 0 = all before it
    softcap: float  # 0 = none
    sinks: torch.Tensor | None  # [heads], beside the scaled scores


def attend(given):
    """Softmax attention [heads, tokens, value dim]; never more than a few rows of scores at once."""
    query, (key, value) = given.query, (t.repeat_interleave(given.query.shape[0] // t.shape[0], 0)
                                        for t in (given.key, given.value))
    length = query.shape[1]
    if not given.window and not given.softcap and given.sinks is None:
        return torch_attention(query[None], key[None], value[None], is_causal=True, scale=given.scale)[0]
    out, positions = [], torch.arange(length, device=query.device)
    rows = max(16, min(1024, 2**26 // (query.shape[0] * min(length, given.window + 1024 if given.window else length))))
    for begin in range(0, length, rows):
        end, first = min(begin + rows, length), max(0, begin - given.window + 1) if given.window else 0
        scores = (query[:, begin:end] @ key[:, first:end].transpose(1, 2)).float() * given.scale
        if given.softcap:
            scores = given.softcap * torch.tanh(scores / given.softcap)
        seen = expected(positions[begin:end, None], positions[None, first:end], given.window)
        scores = scores.masked_fill(~seen, -torch.inf)
        if given.sinks is not None:
            sinks = given.sinks.float()[:, None, None].expand(-1, end - begin, 1)
            scores = torch.cat([scores, sinks], 2)
        weights = torch.softmax(scores, 2)[:, :, : end - first]
        out.append(weights.to(value.dtype) @ value[:, first:end])
    return torch.cat(out, 1)


def own_scale(module, dim):
    """The scale of a model that does not pass one; GPT-2 before 4.53 leaves it to its eager attention."""
    scale = dim**-0.5 if getattr(module, "scale_attn_weights", True) else 1.0
    return scale / (module.layer_idx + 1) if getattr(module, "scale_attn_by_inverse_layer_idx", False) else scale


def distinct_heads(tensor):
    """How many heads are left without the copies that models make for grouped queries before torch's attention."""
    count = tensor.shape[0]
    for heads in range(1, count):
        if count % heads == 0:
            groups = tensor.unflatten(0, (heads, count // heads))
            if all(torch.equal(groups[:, 0], groups[:, copy]) for copy in range(1, count // heads)):
                return heads
    return count


class StandIn:
    """Puts the stand-in into a model. While `in_use()`, `on_layer(Given, output)` is called for every layer, but for those
    that a dump cannot express if they are not among the `wanted` ones (None: all)."""

    def __init__(self, model):
        self.model, self.on_layer, self.masks, self.stack = model, None, MaskReader(), []
        self.warned, self.wanted = False, None
        self.has_interface = any("ALL_ATTENTION_FUNCTIONS" in vars(sys.modules[type(m).__module__]) for m in model.modules())
        self.configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()
        AttentionInterface.register(NAME, self._interface)
        if AttentionMaskInterface:
            AttentionMaskInterface.register(NAME, self.masks.build)

    def choose(self, implementation):
        for config in self.configs:
            config._attn_implementation = implementation

    @contextlib.contextmanager
    def in_use(self, on_layer):
        self.on_layer, hooks = on_layer, []
        self.masks.last = None
        before = [(config, config._attn_implementation) for config in self.configs]
        if self.has_interface:
            self.choose(NAME)
        else:
            for module in self.model.modules():
                if isinstance(getattr(module, "layer_idx", None), int):
                    hooks.append(module.register_forward_pre_hook(lambda module, given: self.stack.append(module)))
                    hooks.append(module.register_forward_hook(lambda *_: self.stack.pop() and None, always_call=True))
            torch.nn.functional.scaled_dot_product_attention = self._torch
        try:
            yield
        finally:
            torch.nn.functional.scaled_dot_product_attention = torch_attention
            for hook in hooks:
                hook.remove()
            for config, implementation in before:
                config._attn_implementation = implementation

    def _interface(self, module, query, key, value, attention_mask, scaling=None, softcap=None, s_aux=None, **options):
        for name in ("sinks", "position_bias", "head_mask", "indices"):
            if options.get(name) is not None:
                raise Refusal(f"layer {module.layer_idx}: the attention has {name}, which a dump cannot express")
        window = self.masks.read(attention_mask, key.shape[2])
        if window is None:
            plain = softcap is None and s_aux is None
            return self._unwanted(module, query, key, value, attention_mask, scaling, plain).transpose(1, 2).contiguous(), None
        if "sliding_window" in options:
            self._compare_windows(module.layer_idx, window, options["sliding_window"] or 0, key.shape[2])
        scale = own_scale(module, query.shape[3]) if scaling is None else scaling
        out = self._attend(module, query, key, value, scale, window, softcap, s_aux)
        return out.transpose(1, 2).contiguous(), None

    def _compare_windows(self, layer, window, said, length):
        """Some versions of transformers give every layer of a model the mask of its sliding layers."""
        said = 0 if said >= length else said
        if said != window and not self.warned:
            self.warned = True
            warn(f"layer {layer}: its mask has a window of {window or 'all'} keys, its settings say {said or 'all'}; the mask counts, "
                 "as in the model's own eager attention, but another version of transformers may do it right")

    def _torch(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        if not self.stack:  # not the attention of a layer
            return torch_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        module = self.stack[-1]
        if attn_mask is None and not is_causal and query.shape[2] > 1:
            raise Refusal(f"layer {module.layer_idx}: the attention is not causal, which a dump cannot express")
        window = self.masks.read(attn_mask, key.shape[2])
        if window is None:
            return self._unwanted(module, query, key, value, attn_mask, scale, True)
        if query.shape[0] == 1 and key.shape[1] == value.shape[1]:
            heads = max(distinct_heads(key[0]), distinct_heads(value[0]))
            key, value = (t[:, :: t.shape[1] // heads] for t in (key, value))
        return self._attend(module, query, key, value, query.shape[3] ** -0.5 if scale is None else scale, window)

    def _unwanted(self, module, query, key, value, mask, scale, plain):
        """A layer whose mask a dump cannot express, computed all the same if it is not to be dumped."""
        if not plain or self.wanted is None or module.layer_idx in self.wanted:
            raise Refusal(ELSE.format(layer=module.layer_idx))
        copies = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(copies, 1) for t in (key, value))
        return torch_attention(query, key, value, mask[:, :, :, : key.shape[2]], scale=scale)

    def _attend(self, module, query, key, value, scale, window, softcap=None, sinks=None):
        layer = module.layer_idx
        if not getattr(module, "is_causal", True):
            raise Refusal(f"layer {layer}: the attention is not causal, which a dump cannot express")
        if query.shape[0] != 1 or query.shape[2] != key.shape[2]:
            raise Refusal(f"layer {layer}: queries {tuple(query.shape)} and keys {tuple(key.shape)} are not one text's")
        given = Given(layer, module, query[0], key[0], value[0], float(scale), window, float(softcap or 0), sinks)
        out = attend(given)
        self.on_layer(given, out)
        return out[None]
