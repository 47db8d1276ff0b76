"""What an attention mask of a Hugging Face model lets through: causal attention with at most a sliding window.

The window is how many keys a row sees, itself included; 0 = all before it. Everything else is None.
"""
import torch

try:
    from transformers import AttentionMaskInterface
except ImportError:  # before 4.53 models build the masks themselves
    AttentionMaskInterface = None

ELSE = ("layer {layer}: the attention mask is more than causal and sliding (chunks, a bidirectional part or a bias such "
        "as ALiBi), which a dump cannot express; --layers chooses layers without it")


def marker(window):
    """Stands for a mask that is never built: its width is the window + 1, which survives casts and moves."""
    return torch.zeros(1, 1, 1, window + 1)


def expected(rows, columns, window):
    distance = rows - columns
    return (distance >= 0) & (distance < window) if window else distance >= 0


def from_function(function, length, local_size, device="cpu"):
    """The window of a mask that transformers >= 4.53 describes by a function of (batch, head, row, column).

    It is tried at random pairs and around the edges of the window. Rows and columns lie within the text: functions
    look into tensors of its length.
    """
    window = local_size if local_size and local_size < length else 0
    random = torch.Generator().manual_seed(0)
    rows = torch.randint(0, length, (384,), generator=random)
    columns = torch.randint(0, length, (384,), generator=random)
    columns[128:320] = rows[128:320] + torch.tensor([0, 1, -1, -window, 1 - window, -1 - window]).repeat(32)
    columns[320:] = 0
    columns.clamp_(0, length - 1)
    rows, columns = rows.to(device), columns.to(device)
    zero = torch.zeros_like(rows)
    if function is not None and not torch.equal(function(zero, zero, rows, columns).bool(), expected(rows, columns, window)):
        return None
    return window


def from_tensor(mask, length):
    """The window of a mask tensor [1, 1, rows, columns], boolean or additive; None if it is anything else."""
    if mask.dim() != 4 or mask.shape[:2] != (1, 1):
        return None  # one for each head: a bias
    mask = mask[0, 0, :, :length]
    window = int(_seen(mask[-1:]).sum())
    window = 0 if window >= length else window
    positions = torch.arange(length, device=mask.device)
    for begin in range(0, length, 1024):
        part = mask[begin : begin + 1024]
        seen = _seen(part)
        if part.dtype != torch.bool and bool((part[~seen] > -1e4).any()):
            return None  # neither in nor out: a bias
        if not torch.equal(seen, expected(positions[begin : begin + 1024, None], positions[None], window)):
            return None
    return window


def _seen(mask):
    return mask if mask.dtype == torch.bool else mask == 0


class MaskReader:
    """Turns what a model passes as its attention mask into a window; remembers the last mask, which layers share."""

    def __init__(self):
        self.last, self.window = None, 0

    def build(self, *args, mask_function=None, local_size=None, q_length=None, kv_length=None, cache_position=None, **options):
        """Takes the place of transformers' mask builders (4.53 and later): a marker, or the mask if it is of another kind."""
        length = kv_length if kv_length is not None else q_length or len(cache_position)
        device = options.get("device") or getattr(cache_position, "device", "cpu")  # where the function's own tensors are
        window = from_function(mask_function, length, local_size, device)
        if window is not None:
            return marker(window)
        given = dict(mask_function=mask_function, local_size=local_size, q_length=q_length, kv_length=kv_length,
                     cache_position=cache_position)
        given.update(options, allow_is_causal_skip=False)
        return AttentionMaskInterface()["sdpa"](*args, **{name: value for name, value in given.items() if value is not None})

    def read(self, mask, length):
        """The window; None where the mask is more than causal and sliding."""
        if mask is None or length == 1:
            return 0
        if mask is not self.last:
            self.last = mask
            self.window = mask.shape[3] - 1 if mask.shape[:3] == (1, 1, 1) else from_tensor(mask, length)
        return self.window
