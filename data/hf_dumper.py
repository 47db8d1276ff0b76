"""A loaded model that writes dumps: tries a prefix, makes room for every layer, then fills it."""
import hashlib
import json
import os
import pathlib

import h5py
import numpy as np
import transformers

import hf_model
from anchor_h5 import Writer, check_same
from hf_attention import StandIn
from hf_layer import LayerWatch, output_projection
from hf_message import Refusal, warn


def weights_name(args, config):
    """Tells two sets of weights apart: the hub's commit, or sizes and ends of the files."""
    if not os.path.isdir(args.model):
        return getattr(config, "_commit_hash", None) or args.revision or "?"
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(args.model).iterdir()):
        if path.suffix in (".safetensors", ".bin", ".gguf") and (not args.gguf or path.name == args.gguf):
            with path.open("rb") as file:
                size = path.stat().st_size
                digest.update(f"{path.name} {size} ".encode() + file.read(1 << 20))
                file.seek(max(0, size - (1 << 20)))
                digest.update(file.read())
    return digest.hexdigest()[:16]


class Dumper:
    """A loaded model that writes dumps."""

    def __init__(self, args, model, config):
        self.args, self.config = args, config
        self.runner, self.stand_in, self.watch = hf_model.Runner(model), StandIn(model), LayerWatch(model)
        self.wanted = sorted(args.layers or range(config.num_hidden_layers))
        self.stand_in.wanted = set(self.wanted)

    def record(self, given):
        """Arguments of Writer.layer for what a layer's attention was given."""
        args, arrays, attributes = self.args, {}, {"sliding_window": np.int64(given.window)}
        q, k, v = (t.float().cpu().numpy() for t in (given.query, given.key, given.value))
        for name, values in (("q", q), ("k", k), ("v", v)):
            if not np.isfinite(values).all():
                raise Refusal(f"layer {given.layer}: {name} is not finite: the weights hold NaN, or --compute is too narrow")
        if k.shape[2] != v.shape[2]:
            if not args.pad_values:
                raise Refusal(hf_model.two_widths(k.shape[2], v.shape[2]))
            width = max(k.shape[2], v.shape[2])
            q, k, v = (np.pad(t, ((0, 0), (0, 0), (0, width - t.shape[2]))) for t in (q, k, v))
        if given.softcap:
            attributes["softcap"] = np.float64(given.softcap)
        if given.sinks is not None:
            arrays["sink_logits"] = given.sinks.detach().float().cpu().numpy()
        if (rope := self.watch.rope(given)) is not None:
            arrays["rope_inv_freq"] = rope[0].numpy()
            attributes.update(rope_attention_factor=np.float64(rope[1]), rope_layout="half")
        if (gate := self.watch.gate(given)) is not None:
            arrays["gate"] = gate.cpu().numpy()
            attributes.update(gate_kind=self.watch.surroundings(given.layer).gate_kind, gate_position="sdpa_output")
        if args.o_proj:
            projection = output_projection(given.module, given.query.shape[0] * given.value.shape[2])
            if projection is None:
                raise Refusal(f"layer {given.layer}: the output projection was not found; do without --o-proj")
            arrays["o_proj"] = projection[1].detach().float().cpu().numpy()
        return dict(number=given.layer, q=q, k=k, v=v, softmax_scale=given.scale, arrays=arrays, **attributes)

    def probe(self, ids):
        """Tries a prefix: {layer: (shapes, attributes)} of the wanted layers, or a Refusal."""
        seen, prefix = {}, ids[: hf_model.PREFIX]

        def look(given, output):
            if not self.watch.look(given, output):
                return
            if given.layer in seen:
                raise Refusal(f"layer {given.layer} has more than one attention, which a dump cannot express")
            seen[given.layer] = self.record(given) if given.layer in self.wanted else None

        with self.stand_in.in_use(look), self.watch.probe():
            logits = self.runner.run(prefix)[1]
        self.refuse_missing(seen)
        changed = [layer for layer in self.wanted if self.watch.surroundings(layer).unexplained]
        if changed:
            warn(f"layer {changed[0]}: something happens between attention and output projection that the dump does not hold")
        if not self.args.no_self_check:
            hf_model.self_check(self.runner, self.stand_in, prefix, logits)
        with self.stand_in.in_use(lambda given, output: seen.__setitem__(given.layer, self.record(given))
                                  if given.layer in self.wanted else None), self.watch.watch():
            self.runner.run(prefix)  # again: only now is it known what surrounds every layer
        return {layer: seen[layer] for layer in self.wanted}

    def refuse_missing(self, seen):
        missing = [layer for layer in self.wanted if layer not in seen]
        if not missing:
            return
        if not seen:
            raise Refusal(f"{type(self.runner.model).__name__} has no softmax attention or computes it in a way of its own, "
                          "neither through transformers' attention interface nor torch's scaled_dot_product_attention; a newer "
                          "transformers may help")
        raise Refusal(hf_model.no_attention(missing[0], self.config, [n for n in self.wanted if n in seen] or sorted(seen)))

    def header(self, ids, source):
        args, config = self.args, self.config
        rope = getattr(config, "rope_parameters", None) or {
            "rope_theta": getattr(config, "rope_theta", None), **(getattr(config, "rope_scaling", None) or {})}
        settings = {name: value for name, value in json.loads(config.to_json_string(use_diff=False)).items()
                    if not name.endswith("name_or_path")}  # a folder of this machine, perhaps
        options = {"layers": self.wanted, "dtype": args.dtype, "compute": str(self.runner.model.dtype), "o_proj": args.o_proj,
                   "pad_values": args.pad_values, "weights": weights_name(args, self.runner.model.config)}
        return dict(model=os.path.basename(args.gguf or args.model.rstrip("/")), tool="hf_dump.py",
                    tool_version=f"transformers {transformers.__version__}", config_json=json.dumps(settings),
                    rope_json=json.dumps(rope, default=str), prompt_source=source, device=args.device_map or args.device,
                    history="hf_dump.py " + json.dumps(options))

    def dump(self, out, ids, source):
        reserved = self.probe(ids)
        additions = any(set(r) & {"softcap", "rope_layout", "gate_kind"} or r["arrays"] for r in reserved.values())
        header = dict(self.header(ids, source), format_version="1.1" if additions else "1.0")
        if self.args.resume and already_there(out, header, ids):
            print(f"{out}: complete already")
            return
        with Writer(out, seq_len=len(ids), dtype=self.args.dtype, input_ids=ids, resume=self.args.resume, **header) as writer:
            try:
                self.fill(writer, out, ids, reserved)
            except (Refusal, ValueError):
                writer.keep = bool(self.args.resume)
                raise

    def fill(self, writer, out, ids, reserved):
        for layer, record in reserved.items():
            if f"{layer:03}" not in writer.file["layers"]:
                writer.reserve(**reservation(record, len(ids)))
        kept, done = len(writer.finished), set()

        def write(given, output):
            done.add(given.layer)
            if given.layer in reserved and given.layer not in writer.finished:
                writer.layer(**self.record(given))

        with self.stand_in.in_use(write), self.watch.watch():
            hidden, logits = self.runner.run(ids)
        self.refuse_missing(done)
        value = self.runner.perplexity(hidden, logits, ids)
        print(f"{out}: {len(reserved)} layers{f' ({kept} kept)' if kept else ''}, {len(ids)} tokens, "
              f"perplexity {'not defined' if value is None else f'{value:.3f}'}")


def reservation(record, tokens):
    """Arguments of Writer.reserve for the full text, from the record of a prefix."""
    rest = {name: value for name, value in record.items() if name not in ("q", "k", "v", "arrays")}
    shapes = {name: (record[name].shape[0], tokens, record[name].shape[2]) for name in ("q", "k", "v")}
    for name, values in record["arrays"].items():
        shapes[name] = (values.shape[0], tokens, *values.shape[2:]) if name == "gate" else values.shape
    return dict(rest, shapes=shapes)


def already_there(out, header, ids):
    if not os.path.exists(out):
        return False
    with h5py.File(out) as file:
        check_same(file, dict(header, seq_len=len(ids)), np.asarray(ids, "<i4"), out)
        return bool(file.attrs.get("complete"))
