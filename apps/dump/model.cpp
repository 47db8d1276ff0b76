#include "dump/model.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/base/part_file.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/data/dump_writer.hpp"
#include "anchor/engine/devices.hpp"
#include "anchor/model/dense_attention.hpp"
#include "anchor/model/device_model.hpp"
#include "anchor/model/model_files.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/method_options.hpp"
#include "cli/number.hpp"
#include "cli/progress.hpp"
#include "cli/streams.hpp"
#include "cli/threshold_options.hpp"

namespace anchor::dump {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string model, text, layers, rope_scaling, out, dtype = "bf16", thresholds, device = "auto",
                                                      weights = "auto";
  cli::MethodOptions method{.names = "dense"};
  std::vector<std::string> argv;
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
  if (!options.quiet) cli::print_note("anchor-dump: " + message);
}

std::vector<int> tokenize(const ModelFiles& files, const ModelConfig& config, const Options& options,
                          std::string& name) {
  const Tokenizer tokenizer = files.tokenizer();
  if (tokenizer.vocab_size() > static_cast<std::size_t>(config.vocab_size)) {
    fail("{}: {} tokens but embeddings for {} only", options.model, tokenizer.vocab_size(),
         config.vocab_size);
  }
  name = tokenizer.name();
  Encoding encoding = tokenizer.encode(read_text(options.text));
  if (encoding.replaced > 0) {
    note(options, fmt::format("{}: {} ill-formed UTF-8 sequences are read as U+FFFD", options.text,
                              encoding.replaced));
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
std::vector<bool> chosen_layers(const Options& options, const ModelConfig& config) {
  std::vector<bool> chosen(static_cast<std::size_t>(config.layers), options.layers.empty());
  if (options.layers.empty()) return chosen;
  for (const std::int64_t layer : parse_integers(options.layers, "--layers", 0, 999)) {
    if (layer >= config.layers)
      fail("{} has layers 0-{}, no layer {}", options.model, config.layers - 1, layer);
    chosen[static_cast<std::size_t>(layer)] = true;
  }
  return chosen;
}

// The layers as they will be written.
std::vector<LayerInfo> plan_layers(const Options& options, const LanguageModel& model, const Ropes& ropes,
                                   const std::vector<bool>& chosen, std::int64_t count) {
  LayerInfo info{.dtype = parse_dtype(options.dtype).value()};
  info.has_ref_out = info.has_ref_lse = options.reference;
  std::vector<LayerInfo> layers;
  for (info.layer = 0; info.layer < model.config().layers; ++info.layer) {
    info.geometry = model.geometry(info.layer, count);
    info.rope.reset();
    if (const Rope* rope = ropes.of(info.layer)) info.rope = DumpRope{rope->inv_freq, rope->attention_factor};
    if (chosen[static_cast<std::size_t>(info.layer)]) layers.push_back(info);
  }
  return layers;
}

// What decides the bits besides the header: a resumed dump must have the same.
std::string request_of(const Options& options, const ModelFiles& files,
                       const std::optional<MethodAttention>& sparse) {
  std::string text = "model " + files.hash();
  if (sparse) {
    text += " method " + sparse->method().name;
    const PlanRequest asked = sparse->request(0);
    for (const auto& [name, value] : asked.params.values())
      text += fmt::format(" {}={}", name, scalar_text(value));
  }
  if (!options.thresholds.empty()) text += fmt::format(" thresholds {}", read_text(options.thresholds));
  return text;
}

std::vector<std::string> inputs_of(const Options& options) {
  std::vector<std::string> inputs{options.model, options.text};
  if (!options.thresholds.empty()) inputs.push_back(options.thresholds);
  return inputs;
}

void write_layer(DumpWriter& writer, int layer, const AttentionInputs& in, const AttentionResult& result,
                 bool reference) {
  const Geometry& g = in.geometry;
  writer.begin_layer(layer);
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

/// The method that the options ask for; empty = plain dense attention.
std::optional<MethodAttention> chosen_attention(const Options& options, const ModelFiles& files,
                                                const ModelConfig& config) {
  if (!options.method.named && options.thresholds.empty()) {
    cli::resolve_methods(options.method);  // --theta without --method: say that dense has none
    return std::nullopt;
  }
  if (options.thresholds.empty()) {
    const std::vector<MethodRun> runs = cli::resolve_methods(options.method);
    if (runs.size() != 1)
      fail_usage("one forward pass runs one method with one set of parameters, not {}", runs.size());
    return MethodAttention(*runs[0].method, runs[0].params, {});
  }
  const Thresholds thresholds = read_thresholds(options.thresholds);
  const MethodRun run = cli::thresholds_run(thresholds, options.thresholds, options.method);
  cli::CommonOptions common;
  common.quiet = options.quiet;
  cli::note_other_model(thresholds, options.thresholds, options.model, files.name(), common);
  return MethodAttention(*run.method, run.params,
                         cli::choose_heads(thresholds, options.thresholds, *run.method, config));
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.) / static_cast<double>(values.size());
}

std::string describe(const MethodAttention& attention) {
  return fmt::format("{}: density {:.4f}, work density {:.4f}", attention.method().name,
                     attention.stats().density(), attention.stats().work_density());
}

int run(const Options& options) {
  set_threads(options.threads);
  if (options.out.empty() && (options.resume || options.reference || !options.layers.empty()))
    fail_usage("--layers, --reference and --resume are about the dump: give --out");
  std::optional<RopeScaling> scaling;
  if (!options.rope_scaling.empty()) scaling = parse_rope_scaling(options.rope_scaling);
  const ModelFiles files(options.model);
  const LanguageModel model = files.model();
  const ModelConfig& config = model.config();
  const std::vector<bool> chosen = chosen_layers(options, config);
  const std::optional<int> cuda = cuda_device(options.device);
  const WeightMemory memory = parse_weight_memory(options.weights);
  const std::unique_ptr<DeviceModel> on_device = cuda ? make_cuda_model(model, *cuda, memory) : nullptr;
  if (!cuda && memory != WeightMemory::automatic) fail_usage("{}", weights_need_cuda);

  DumpHeader header;
  const std::vector<int> tokens = tokenize(files, config, options, header.text["tokenizer"]);
  const auto count = static_cast<std::int64_t>(tokens.size());
  const Ropes ropes = model.ropes(scaling, count);
  header.model = files.name();
  header.seq_len = count;
  header.tool = "anchor-dump model";
  header.tool_version = ANCHOR_VERSION;
  header.text["config_json"] = config.json;
  header.text["prompt_source"] = options.text;
  header.text["rope_json"] = ropes.json;
  header.text["device"] = on_device ? on_device->device() : "cpu";
  std::optional<MethodAttention> sparse = chosen_attention(options, files, config);
  if (sparse) header.text["history"] = "attention in every layer: " + sparse->method().name;
  std::optional<DumpWriter> writer;
  if (!options.out.empty()) {
    header.request = request_of(options, files, sparse);
    writer.emplace(
        options.out,
        DumpPlan{header, plan_layers(options, model, ropes, chosen, count), tokens, inputs_of(options)},
        options.resume ? DumpWriter::Mode::resume : DumpWriter::Mode::create);
    if (writer->done()) {
      note(options, fmt::format("{} is complete, nothing to resume", options.out));
      return 0;
    }
  }

  cli::Progress progress("layer", config.layers, options.quiet);
  const Clock::time_point start = Clock::now();
  const auto wants_layer = [&](int layer) {
    return writer && chosen[static_cast<std::size_t>(layer)] && !writer->has_layer(layer);
  };
  const LayerFn on_layer = [&](int layer, const AttentionInputs& in, const AttentionResult& result) {
    if (wants_layer(layer)) write_layer(*writer, layer, in, result, options.reference);
  };
  const ProgressFn on_progress = [&](std::int64_t done, std::int64_t total) {
    const double speed =
        static_cast<double>(count * done) / static_cast<double>(total) / seconds_since(start);
    progress.update(done, fmt::format("{:.0f} tokens/s", speed));
  };
  const std::size_t half = tokens.size() / 2;
  double nll = 0, late_nll = 0, seconds = 0;
  try {
    if (on_device) {
      const std::vector<double> by_token = on_device->forward(
          tokens, ropes,
          {sparse ? &*sparse : nullptr, wants_layer, options.reference, on_layer, on_progress});
      seconds = seconds_since(start);
      nll = mean(by_token);
      late_nll = mean(std::span(by_token).subspan(std::min(half, by_token.size())));
    } else {
      const AttentionFn attention = [&](int layer, const AttentionInputs& in) {
        return sparse ? sparse->attend(layer, in) : dense_attention(in);
      };
      const AlignedVector<float> hidden = model.forward(tokens, ropes, {attention, on_layer, on_progress});
      seconds = seconds_since(start);
      nll = model.mean_nll(tokens, hidden);
      late_nll =
          model.mean_nll(std::span(tokens).subspan(half),
                         std::span(hidden).subspan(half * static_cast<std::size_t>(config.hidden_size)));
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::interrupted || !writer) throw;
    throw Error(ErrorKind::interrupted, fmt::format("interrupted; {} keeps the finished layers for --resume",
                                                    PartFile::part_of(options.out)));
  }
  progress.clear();
  if (tokens.size() > 1 && !std::isfinite(nll))
    fail("{}: the likelihood of the text is {}; the model's weights are damaged, or it overflows",
         options.model, nll);
  if (writer) {
    writer->finish();
    fmt::print("{}: {} of {} layers, {} query and {} KV heads of {}, {} tokens, {}\n", options.out,
               std::count(chosen.begin(), chosen.end(), true), config.layers, config.q_heads, config.kv_heads,
               config.head_dim, count, options.dtype);
  }
  if (sparse) fmt::print("{}\n", describe(*sparse));
  const auto perplexity = [](double mean, std::size_t predicted) {
    return predicted == 0 ? "undefined (one token)" : fmt::format("{:.3f}", std::exp(mean));
  };
  fmt::print("perplexity {}, of the second half {}, {:.0f} tokens/s\n", perplexity(nll, tokens.size() - 1),
             perplexity(late_nll, tokens.size() - half - 1), static_cast<double>(count) / seconds);
  return 0;
}

}  // namespace

void setup_model(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv) {
  auto options = std::make_shared<Options>();
  options->argv = argv;
  CLI::App* sub = app.add_subcommand("model", "Run a language model over a text");
  sub->footer(
      "anchor-dump model --model M.gguf --text book.txt --tokens 8k --out dump.h5\n"
      "anchor-dump model --model M.gguf --text book.txt --thresholds T.json");
  sub->add_option("--model", options->model, "A GGUF file, or a folder as transformers saves it")
      ->required()
      ->type_name("FILE|FOLDER");
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
  sub->add_option("-o,--out", options->out,
                  "The dump to write; it grows as OUT.part (default: none, perplexity alone)")
      ->type_name("DUMP");
  cli::add_method(*sub, options->method, options->argv);
  sub->add_option("--thresholds", options->thresholds, "One knob value per head, from anchor-sweep")
      ->type_name("FILE")
      ->group("Method");
  sub->add_option("--device", options->device, "auto, cpu, cuda or cuda:N; a CUDA device computes in bf16")
      ->type_name("DEVICE")
      ->capture_default_str();
  sub->add_option("--weights", options->weights,
                  "On a CUDA device: resident, stream (two layers at a time), or auto: as they fit")
      ->check(CLI::IsMember({"auto", "resident", "stream"}))
      ->capture_default_str();
  sub->add_option("--threads", options->threads, "Threads (default: all cores)")
      ->transform(cli::whole_number(1, 4096));
  sub->add_flag("--resume", options->resume, "Continue OUT.part: layers already in it are not written again");
  sub->add_flag("-q,--quiet", options->quiet, "No progress, no notes");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::dump
