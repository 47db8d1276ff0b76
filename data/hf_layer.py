"""What lies around the attention of a layer: rotary frequencies, an output gate, the output projection.

`probe()` finds on a short text which of them a layer has, by checking that they explain what the layer computes;
`watch()` then reads them on the text itself.
"""
import contextlib
import dataclasses

import torch

from hf_rope import RopeTable, is_rotated


@dataclasses.dataclass
class Surroundings:
    rope: bool = False  # queries and keys were turned by the frequencies of RopeTable.find
    gate: str | None = None  # the submodule whose output, after a sigmoid, multiplies the attention's output
    gate_kind: str = "elementwise"  # one number for every dimension, or headwise: one for a head
    unexplained: bool = False  # something else happens between attention and output projection


def output_projection(module, width):
    """(submodule, weight [hidden, width]) that takes the heads' outputs back to hidden states; or None."""
    for name in ("o_proj", "out_proj", "dense", "c_proj", "wo"):
        child = getattr(module, name, None)
        weight = getattr(child, "weight", None)
        if weight is None or weight.dim() != 2 or not weight.is_floating_point():
            continue
        weight = weight.T if type(child).__name__ == "Conv1D" else weight
        if weight.shape[1] == width:
            return child, weight
    return None


def close(a, b):
    return bool((a - b).abs().max() <= (1e-4 if b.dtype == torch.float32 else 3e-2) * b.abs().max())


def gate_values(raw, heads, dim):
    """[heads, tokens, dim or 1] of a gate from the output [tokens, …] of the submodule that makes it; or None."""
    if raw.shape[-1] == 2 * heads * dim:  # beside the queries, head by head
        raw = raw.unflatten(-1, (heads, 2 * dim))[..., dim:]
    elif raw.shape[-1] in (heads * dim, heads):
        raw = raw.unflatten(-1, (heads, -1))
    else:
        return None
    return torch.sigmoid(raw.float()).transpose(0, 1)


class LayerWatch:
    def __init__(self, model):
        self.ropes, self.found = RopeTable(model), {}
        self.attentions = [m for m in model.modules() if "attention" in type(m).__name__.lower()
                           and isinstance(getattr(m, "layer_idx", None), int)]
        self.turns, self.outputs, self.plain, self.peeking, self.attention_output = {}, {}, None, False, None

    @contextlib.contextmanager
    def _hooks(self, probing):
        hooks = []
        for module in self.attentions:
            hooks.append(module.register_forward_pre_hook(self._peek if probing else self._remember, with_kwargs=True))
            for name, child in module.named_modules():
                if name and (probing or name == self.surroundings(module.layer_idx).gate):
                    hooks.append(child.register_forward_hook(self._keep(module, name)))
            if probing:
                for name in ("o_proj", "out_proj", "dense", "c_proj", "wo"):
                    if isinstance(getattr(module, name, None), torch.nn.Module):
                        hooks.append(getattr(module, name).register_forward_pre_hook(self._explain(module)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def probe(self):
        return self._hooks(True)

    def watch(self):
        return self._hooks(False)

    def surroundings(self, layer):
        return self.found.setdefault(layer, Surroundings())

    def _keep(self, module, name):
        def keep(child, given, output):
            if torch.is_tensor(output) and not self.peeking:
                self.outputs[module.layer_idx, name] = output[0]
        return keep

    def _remember(self, module, args, kwargs):
        for value in (*kwargs.values(), *args):
            if isinstance(value, tuple) and len(value) == 2 and all(torch.is_tensor(t) and t.dim() == 3 for t in value):
                self.turns[module.layer_idx] = value

    def _peek(self, module, args, kwargs):
        """Also runs the layer's attention with a rotation by nothing: what its queries are before RoPE."""
        self._remember(module, args, kwargs)
        turn, self.plain = self.turns.get(module.layer_idx), None
        if turn is None or self.peeking:
            return
        still = torch.ones_like(turn[0]), torch.zeros_like(turn[1])
        args = [still if value is turn else value for value in args]
        kwargs = {name: still if value is turn else value for name, value in kwargs.items()}
        self.peeking = True
        try:
            module.forward(*args, **kwargs)
        finally:
            self.peeking = False

    def look(self, given, output):
        """To be called with what the attention was given while probing; False during the run before RoPE."""
        if self.peeking:
            self.plain = given.query
            return False
        self.attention_output, layer = output, given.layer
        rope = self.rope(given, known=False)
        if self.plain is not None and rope is not None:
            self.surroundings(layer).rope = is_rotated(self.plain, given.query, *rope)
        return True

    def _explain(self, module):
        """Compares what the output projection gets with what the attention gave."""
        def explain(projection, given):
            if self.peeking or self.attention_output is None:
                return
            output, got = self.attention_output, given[0][0]
            heads, _, dim = output.shape
            if got.shape[-1] != heads * dim or close(output.transpose(0, 1).flatten(1), got):
                return
            found = self.surroundings(module.layer_idx)
            for (layer, name), raw in self.outputs.items():
                gate = gate_values(raw, heads, dim) if layer == module.layer_idx and raw.shape[0] == got.shape[0] else None
                if gate is not None and close((output * gate.to(output.dtype)).transpose(0, 1).flatten(1), got):
                    found.gate, found.gate_kind = name, "elementwise" if gate.shape[2] > 1 else "headwise"
                    return
            found.unexplained = True
        return explain

    def rope(self, given, known=True):
        """(inv_freq, factor) or None."""
        turn = self.turns.get(given.layer)
        if turn is None or (known and not self.surroundings(given.layer).rope):
            return None
        return self.ropes.find(*turn)

    def gate(self, given):
        """[heads, tokens, dim], [heads, tokens] (headwise) or None."""
        found = self.surroundings(given.layer)
        raw = self.outputs.get((given.layer, found.gate)) if found.gate else None
        if raw is None:
            return None
        gate = gate_values(raw, given.query.shape[0], given.value.shape[2])
        return gate if found.gate_kind == "elementwise" else gate[..., 0]
