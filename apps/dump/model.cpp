#include "dump/model.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/dump_writer.hpp"
#include "anchor/experiment/grid.hpp"
#include "anchor/model/llama.hpp"
#include "anchor/model/tokenizer.hpp"
#include "cli/number.hpp"
#include "cli/progress.hpp"

namespace anchor::dump {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string model, text, layers, rope_scaling, out, dtype = "bf16";
  std::int64_t tokens = 0;  // 0 = the whole text
  int threads = 0;
  bool reference = false, resume = false, quiet = false;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) fail("{}: the text cannot be read", path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) fail("{}: the text is empty, so there is nothing to run the model over", path);
  return text;
}

void note(const Options& options, const std::string& message) {
  if (!options.quiet) fmt::print(stderr, "anchor-dump: {}\n", message);
}

std::vector<int> tokenize(const GgufFile& file, const LlamaConfig& config, const Options& options,
                          std::string& name) {
  const Tokenizer tokenizer(file);
  if (tokenizer.vocab_size() > static_cast<std::size_t>(config.vocab_size)) {
    fail("{}: {} tokens but embeddings for {} only", file.path(), tokenizer.vocab_size(), config.vocab_size);
  }
  name = tokenizer.name();
  Encoding encoding = tokenizer.encode(read_text(options.text));
  if (encoding.replaced > 0) {
    note(options, fmt::format("{}: {} ill-formed UTF-8 sequences are read as U+FFFD", options.text,
                              encoding.replaced));
  }
  if (tokenizer.expects_nfc()) {
    note(options,
         "this model's own tokenizer normalises to NFC first; the text is taken as it is, so make sure it is "
         "NFC");
  }
  const auto count = static_cast<std::int64_t>(encoding.ids.size());
  if (count == 0) fail("{}: the text has no tokens", options.text);
  if (count < options.tokens) {
    note(options, fmt::format("{} has {} tokens, fewer than the {} asked for; all are used", options.text,
                              count, options.tokens));
  }
  if (options.tokens > 0 && count > options.tokens)
    encoding.ids.resize(static_cast<std::size_t>(options.tokens));
  return std::move(encoding.ids);
}

// Which layers to write; none asked for = all.
std::vector<bool> chosen_layers(const Options& options, const LlamaConfig& config) {
  std::vector<bool> chosen(static_cast<std::size_t>(config.layers), options.layers.empty());
  if (options.layers.empty()) return chosen;
  for (const std::int64_t layer : parse_integers(options.layers, "--layers", 0, 999)) {
    if (layer >= config.layers)
      fail("{} has layers 0-{}, no layer {}", options.model, config.layers - 1, layer);
    chosen[static_cast<std::size_t>(layer)] = true;
  }
  return chosen;
}

void write_layer(DumpWriter& writer, const LayerInfo& info, const AttentionInputs& in,
                 const AttentionResult& result, bool reference) {
  const Geometry& g = info.geometry;
  writer.begin_layer(info);
  writer.append(Part::q, std::span(in.q, static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim)));
  writer.append(Part::k, std::span(in.k, static_cast<std::size_t>(g.kv_heads * g.kv_len * g.head_dim)));
  writer.append(Part::v, std::span(in.v, static_cast<std::size_t>(g.kv_heads * g.kv_len * g.head_dim)));
  if (reference) {
    writer.append(Part::ref_out, std::span<const float>(result.out));
    const std::vector<float> lse(result.lse.begin(), result.lse.end());
    writer.append(Part::ref_lse, std::span<const float>(lse));
  }
  writer.end_layer();
}

int run(const Options& options) {
  set_threads(options.threads);
  const std::string part = options.out + ".part";
  const bool continues = options.resume && std::filesystem::exists(part);
  if (options.resume && !continues && std::filesystem::exists(options.out)) {
    note(options, fmt::format("{} is complete, nothing to resume", options.out));
    return 0;
  }
  std::optional<RopeScaling> scaling;
  if (!options.rope_scaling.empty()) scaling = parse_rope_scaling(options.rope_scaling);
  const GgufFile file(options.model);
  const LlamaModel model(file);
  const LlamaConfig& config = model.config();
  const std::vector<bool> chosen = chosen_layers(options, config);

  DumpHeader header;
  const std::vector<int> tokens = tokenize(file, config, options, header.text["tokenizer"]);
  const auto count = static_cast<std::int64_t>(tokens.size());
  const Rope rope = model.rope(scaling, count);
  header.model = std::filesystem::path(options.model).stem().string();
  header.seq_len = count;
  header.tool = "anchor-dump model";
  header.tool_version = ANCHOR_VERSION;
  header.text["config_json"] = config.to_json();
  header.text["prompt_source"] = options.text;
  header.text["rope_json"] = rope.json;
  DumpWriter writer(options.out, header, tokens,
                    continues ? DumpWriter::Mode::resume : DumpWriter::Mode::create);

  cli::Progress progress("layer", config.layers, options.quiet);
  const Clock::time_point start = Clock::now();
  LlamaModel::Hooks hooks;
  hooks.attention = [](const AttentionInputs& in) { return cpu_attention(in, dense_plan(in.geometry, 512)); };
  hooks.on_layer = [&](int layer, const AttentionInputs& in, const AttentionResult& result) {
    const LayerInfo info{layer, in.geometry, parse_dtype(options.dtype).value(), true};
    if (chosen[static_cast<std::size_t>(layer)] && !writer.has_layer(info)) {
      write_layer(writer, info, in, result, options.reference);
    }
  };
  hooks.on_progress = [&](std::int64_t done, std::int64_t total) {
    const double speed =
        static_cast<double>(count * done) / static_cast<double>(total) / seconds_since(start);
    progress.update(done, fmt::format("{:.0f} tokens/s", speed));
  };
  double nll = 0, seconds = 0;
  try {
    const AlignedVector<float> hidden = model.forward(tokens, rope, hooks);
    seconds = seconds_since(start);
    nll = model.mean_nll(tokens, hidden);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::interrupted) throw;
    throw Error(ErrorKind::interrupted,
                fmt::format("interrupted; {} keeps the finished layers for --resume", part));
  }
  progress.clear();
  writer.finish();
  fmt::print("{}: {} of {} layers, {} query and {} KV heads of {}, {} tokens, {}\n", options.out,
             std::count(chosen.begin(), chosen.end(), true), config.layers, config.q_heads, config.kv_heads,
             config.head_dim, count, options.dtype);
  fmt::print("perplexity {}, {:.0f} tokens/s\n",
             count > 1 ? fmt::format("{:.3f}", std::exp(nll)) : "undefined (one token)",
             static_cast<double>(count) / seconds);
  return 0;
}

}  // namespace

void setup_model(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("model", "Run a GGUF language model over a text");
  sub->footer(
      "anchor-dump model --model M.gguf --text book.txt --tokens 8k --out dump.h5\n"
      "anchor-dump model --model M.gguf --text book.txt --layers 0,15 -o d.h5");
  sub->add_option("--model", options->model, "Llama-architecture model, a GGUF file")
      ->required()
      ->type_name("FILE");
  sub->add_option("--text", options->text, "The text, taken as it is: no template, nothing stripped")
      ->required()
      ->type_name("FILE");
  sub->add_option("--tokens", options->tokens, "Use the first so many tokens (4k = 4096; default: all)")
      ->transform(cli::whole_number());
  sub->add_option("--layers", options->layers, "Layers to write, such as 0-29 or 0,15 (default: all)")
      ->type_name("LIST");
  sub->add_option("--dtype", options->dtype, "Stored type")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
  sub->add_option("--rope-scaling", options->rope_scaling,
                  "Run beyond the model's context: linear:F, dynamic:F or yarn:F, as in transformers");
  sub->add_flag("--reference", options->reference, "Also store the model's own attention output and lse");
  sub->add_option("-o,--out", options->out, "The dump to write; it grows as OUT.part")
      ->required()
      ->type_name("DUMP");
  sub->add_option("--threads", options->threads, "Threads (default: all cores)")->check(CLI::PositiveNumber);
  sub->add_flag("--resume", options->resume, "Continue OUT.part: layers already in it are not written again");
  sub->add_flag("-q,--quiet", options->quiet, "No progress, no notes");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::dump
