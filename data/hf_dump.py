"""Dumps queries, keys and values of any Hugging Face causal language model (README.md describes the file).

    python data/hf_dump.py --model Qwen/Qwen2.5-0.5B --text book.txt --tokens 4096 --out d.h5
    python data/hf_dump.py --model FOLDER --text a.txt --text b.txt --device cuda --out 'dumps/{}.h5'
    python data/hf_dump.py --model FOLDER --gguf model.gguf --input-ids other.h5 --out d.h5

Needs torch and transformers >= 4.51 besides h5py and numpy (for --gguf also gguf, for --device-map accelerate). Layers
are written as they are computed, so only one is in memory besides the model. The text is taken as it is, without chat
template; special tokens are the ones that the model's tokenizer adds by itself.

Before the work a short prefix is tried: what a dump cannot express is refused there, and the logits are compared with
those of the model's own attention. Exit codes: 0 done, 1 not possible (one line says why), 2 wrong usage, 130 interrupted.
"""
import argparse
import os
import pathlib
import sys
import traceback

import transformers
from transformers import AutoTokenizer

import hf_model
import hf_tokens
from hf_dumper import Dumper
from hf_message import Refusal


def parse_layers(text):
    layers = set()
    for item in text.split(","):
        first, _, last = item.partition("-")
        layers.update(range(int(first), int(last or first) + 1))
    return layers


def parse_count(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name on the Hugging Face hub, or a folder")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the code that comes with the model")
    parser.add_argument("--gguf", help="a GGUF file in that folder")
    parser.add_argument("--tokenizer", help="the tokenizer of this name or folder instead of the model's")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", action="append", help="a text file; may be given several times, then OUT holds {}")
    source.add_argument("--input-ids", metavar="FILE",
                        help="token ids: those of a dump, to compare two models or programs, or a list of numbers")
    parser.add_argument("--tokens", type=parse_count, help="use the first so many tokens (default: all)")
    parser.add_argument("--layers", type=parse_layers, help="layers to write, such as 0-3,8 (default: all)")
    parser.add_argument("--dtype", choices=("bf16", "f16", "f32"), default="bf16", help="stored type (default bf16)")
    parser.add_argument("--compute", choices=("float32", "bfloat16", "float16"),
                        help="type to compute in (default: float32 on the CPU, the model's own elsewhere)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 … (default cpu)")
    where.add_argument("--device-map", help="spread the model over the devices: auto, balanced, sequential …")
    parser.add_argument("--o-proj", action="store_true", help="also write the output projection of every layer")
    parser.add_argument("--pad-values", action="store_true",
                        help="where keys and values differ in width (DeepSeek), fill the narrower up with zeros")
    parser.add_argument("--no-self-check", action="store_true", help="do not compare with the model's own attention")
    parser.add_argument("--resume", action="store_true", help="keep the layers that OUT.part of an earlier run holds")
    parser.add_argument("-o", "--out", required=True, help="the dump to write; it grows as OUT.part. {} is the text's name")
    args = parser.parse_args(arguments)
    args.outs = outputs(args, parser.error)
    return args


def outputs(args, error):
    """{output: text or file of ids}."""
    sources = args.text or [args.input_ids]
    if len(sources) > 1 and "{}" not in args.out:
        error("several texts need an --out with {} where the text's name goes, such as 'dumps/{}.h5'")
    outs = {args.out.replace("{}", pathlib.Path(source).stem): source for source in sources}
    if len(outs) < len(sources):
        error("two texts have the same name, so their dumps would, too")
    for out in outs:
        for given in (*sources, *([os.path.join(args.model, args.gguf)] if args.gguf else [])):
            if os.path.exists(out) and os.path.exists(given) and os.path.samefile(out, given):
                error(f"--out {out} is one of the inputs")
    return outs


def read_tokens(args, location):
    """{output: (ids, source)}."""
    if args.input_ids:
        return {out: (hf_tokens.from_file(source, args.tokens), source) for out, source in args.outs.items()}
    if args.tokenizer:
        location = {"pretrained_model_name_or_path": args.tokenizer, "trust_remote_code": args.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**location)
    except Exception as error:
        raise Refusal(f"transformers {transformers.__version__} cannot make the tokenizer ({one_line(error)}); --tokenizer NAME "
                      "takes another's, --input-ids FILE the token ids of a dump or a list") from error
    gguf = hf_tokens.GgufSettings(args.model, args.gguf) if args.gguf and not args.tokenizer else None
    if gguf:
        gguf.warn_of_its_words()
    return {out: (hf_tokens.from_text(source, tokenizer, args.tokens, gguf), source) for out, source in args.outs.items()}


def refuse_early(args, config, texts):
    """What can be said before the weights are read."""
    for out in texts:
        folder = os.path.dirname(os.path.abspath(out))
        if not os.path.isdir(folder):
            raise Refusal(f"{out}: there is no folder {folder}")
    layers, limit = config.num_hidden_layers, getattr(config, "max_position_embeddings", None)
    unknown = sorted((args.layers or set()) - set(range(layers)))
    if unknown:
        raise Refusal(f"the model has layers 0-{layers - 1}, no layer {unknown[0]}")
    hf_model.refuse_by_config(config, sorted(args.layers or ()), args.pad_values)
    for ids, source in texts.values():
        if limit and len(ids) > limit:
            raise Refusal(f"{source}: {len(ids)} tokens are more than the model's context of {limit}; use --tokens")
        if max(ids) >= config.vocab_size:
            raise Refusal(f"{source}: token {max(ids)} is not one of the model's {config.vocab_size}; the ids are of another model")


def dump(args):
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    location = {"pretrained_model_name_or_path": args.model, "trust_remote_code": args.trust_remote_code}
    for name, value in (("gguf_file", args.gguf), ("revision", args.revision)):
        if value:
            location[name] = value
    config = hf_model.text_config(location)
    texts = read_tokens(args, location)
    refuse_early(args, config, texts)
    compute = args.compute or ("float32" if args.device == "cpu" and not args.device_map else "auto")
    dumper = Dumper(args, hf_model.load(location, compute, args.device, args.device_map), config)
    for out, (ids, source) in texts.items():
        dumper.dump(out, ids, source)


def main(arguments=None):
    args = parse_arguments(arguments)
    try:
        dump(args)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        print("hf_dump.py:", one_line(error), file=sys.stderr)
        return 1
    return 0


def one_line(error):
    """The first line of an error; an unexpected one also says where it happened."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "trust_remote_code" in str(error):
        return f"{line.rstrip('. ')}; --trust-remote-code runs it"
    if isinstance(error, (Refusal, OSError, ValueError, ImportError)):
        return line
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {os.path.basename(where.filename)}:{where.lineno}: {line}"


if __name__ == "__main__":
    sys.exit(main())
