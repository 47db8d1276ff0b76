"""The rotary frequencies that a layer really used, found among the model's buffers and checked against its cosines."""
import torch


def rotated(plain, inv_freq, factor):
    """plain [heads, tokens, dim] turned by position, halves paired (dimension i with i + r/2), the rest as it is."""
    half = len(inv_freq)
    angle = torch.arange(plain.shape[1], device=plain.device).float()[:, None] * inv_freq.to(plain.device).float()
    cos, sin = factor * angle.cos(), factor * angle.sin()
    a, b, rest = plain.float().split([half, half, plain.shape[2] - 2 * half], 2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], 2)


def is_rotated(plain, given, inv_freq, factor):
    """Whether turning the plain queries gives those that the attention got."""
    if 2 * len(inv_freq) > plain.shape[2]:
        return False
    error = (rotated(plain, inv_freq, factor) - given.float()).abs().max()
    return bool(error <= (1e-4 if given.dtype == torch.float32 else 3e-2) * given.float().abs().max())


class RopeTable:
    """All rotary frequencies of a model, each with the factor of its cosines and sines."""

    def __init__(self, model):
        self.model = model

    def candidates(self):
        """Read anew each time: models with dynamic or long-text frequencies change them during a forward pass."""
        for module in self.model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if name.endswith("inv_freq") and "original" not in name and buffer.dim() == 1:
                    yield buffer, float(getattr(module, name.replace("inv_freq", "attention_scaling"), 1.0))

    def find(self, cos, sin):
        """(inv_freq, factor) that make these cosines and sines [1, tokens, r or r/2] of tokens 0, 1, 2, …; or None."""
        chosen = torch.linspace(0, cos.shape[1] - 1, min(64, cos.shape[1])).long().to(cos.device)
        limit = 1e-3 if cos.dtype == torch.float32 else 2e-2
        best = None
        for inv_freq, factor in self.candidates():
            half = len(inv_freq)
            if cos.shape[2] not in (half, 2 * half):
                continue
            angle = chosen.float()[:, None] * inv_freq.to(cos.device).float()
            error = max(float((factor * angle.cos() - cos[0, chosen, :half].float()).abs().max()),
                        float((factor * angle.sin() - sin[0, chosen, :half].float()).abs().max()))
            if error < limit * factor and (best is None or error < best[0]):
                best = error, inv_freq.detach().float().cpu(), factor
        return best and best[1:]
