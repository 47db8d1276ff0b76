#include "dump/inspect.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/data/dump_reader.hpp"
#include "anchor/report/row_writer.hpp"
#include "cli/common_options.hpp"
#include "cli/streams.hpp"
#include "cli/terminal.hpp"
#include "dump/problems.hpp"

namespace anchor::dump {
namespace {

struct Options {
  std::string path;
  cli::CommonOptions common;  // only format
};

std::string size_text(std::uint64_t bytes) {
  if (bytes >= 1u << 30) return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1u << 30));
  if (bytes >= 1u << 20) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1u << 20));
  return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
}

Json header_json(const DumpReader& reader) {
  const DumpHeader& header = reader.header();
  Json json{{"path", reader.path()},
            {"model", header.model},
            {"seq_len", header.seq_len},
            {"complete", reader.complete()},
            {"input_ids", reader.input_ids().size()},
            {"tool", header.tool},
            {"tool_version", header.tool_version},
            {"created_utc", header.created_utc}};
  if (header.seed) json["seed"] = *header.seed;
  for (const auto& [name, value] : header.text) json[name] = value;
  return json;
}

std::uint64_t stored_bytes(const DumpReader& reader, int layer) {
  std::uint64_t bytes = 0;
  for (const Part part : all_parts) {
    if (const StoredTensor* stored = reader.stored(layer, part)) bytes += stored->stored_bytes;
  }
  return bytes;
}

Json layer_json(const DumpReader& reader, const LayerInfo& info) {
  const Geometry& g = info.geometry;
  return {{"layer", info.layer},
          {"q_heads", g.q_heads},
          {"kv_heads", g.kv_heads},
          {"q_len", g.q_len},
          {"kv_len", g.kv_len},
          {"q_start", g.q_start},
          {"head_dim", g.head_dim},
          {"dtype", name_of(info.dtype)},
          {"softmax_scale", g.softmax_scale},
          {"causal", g.causal},
          {"sliding_window", g.sliding_window},
          {"rope_applied", info.rope_applied},
          {"layout", reader.stored(info.layer, Part::k)->layout},
          {"ref", reader.stored(info.layer, Part::ref_out) != nullptr},
          {"bytes", stored_bytes(reader, info.layer)}};
}

// Layers of equal description become one line: 0-29.
void print_summary(const DumpReader& reader) {
  const DumpHeader& header = reader.header();
  std::uint64_t bytes = 0;
  for (const LayerInfo& info : reader.layers()) bytes += stored_bytes(reader, info.layer);
  const auto line = [](const std::string& name, const std::string& value) {
    fmt::print("{:<13} {}\n", cli::one_line(name, 40),
               cli::one_line(value, std::max(20, cli::terminal_width() - 14)));
  };
  line("dump", reader.path());
  line("model", header.model);
  line("tokens", fmt::format("{}{}", header.seq_len, reader.input_ids().empty() ? "" : ", with their ids"));
  line("layers", fmt::format("{}, {}{}", reader.layers().size(), size_text(bytes),
                             reader.complete() ? "" : "; INCOMPLETE: the writer did not finish"));
  line("made by", fmt::format("{} {}, {}", header.tool, header.tool_version, header.created_utc));
  if (header.seed) line("seed", std::to_string(*header.seed));
  for (const auto& [name, value] : header.text) line(name, value);
  fmt::print("\n");

  std::vector<Json> runs;
  for (const LayerInfo& info : reader.layers()) {
    const Geometry& g = info.geometry;
    std::string notes;
    if (!g.causal) notes += "not causal ";
    if (g.sliding_window > 0) notes += fmt::format("window {} ", g.sliding_window);
    if (!info.rope_applied) notes += "before RoPE ";
    if (reader.stored(info.layer, Part::ref_out)) notes += "ref ";
    if (const auto& layout = reader.stored(info.layer, Part::k)->layout; layout != "contiguous")
      notes += layout;
    Json row{{"heads", fmt::format("{}/{}", g.q_heads, g.kv_heads)},
             {"rows", g.q_len},
             {"keys", g.kv_len},
             {"dim", g.head_dim},
             {"type", name_of(info.dtype)},
             {"scale", g.softmax_scale},
             {"notes", notes}};
    const bool joined = !runs.empty() && runs.back()["row"] == row && runs.back()["last"] == info.layer - 1;
    if (!joined) runs.push_back({{"first", info.layer}, {"row", row}});
    runs.back()["last"] = info.layer;
  }
  std::vector<Json> rows;
  for (const Json& run : runs) {
    const int first = run["first"], last = run["last"];
    Json row{{"layers", first == last ? std::to_string(first) : fmt::format("{}-{}", first, last)}};
    row.update(run["row"]);
    rows.push_back(std::move(row));
  }
  const std::vector<Column> columns{{"layers"}, {"heads"}, {"rows"},  {"keys"},
                                    {"dim"},    {"type"},  {"scale"}, {"notes"}};
  fmt::print("{}", markdown_table(rows, columns));
}

int run(const Options& options) {
  const DumpReader reader(options.path, DumpReader::Strictness::inspect);
  const std::string format = options.common.stdout_format();
  if (format == "md") {
    print_summary(reader);
  } else {
    std::vector<Column> columns{{"dump.path"}, {"dump.model"}, {"dump.complete"}};
    for (const char* name :
         {"layer", "q_heads", "kv_heads", "q_len", "kv_len", "q_start", "head_dim", "dtype", "softmax_scale",
          "causal", "sliding_window", "rope_applied", "layout", "ref", "bytes"}) {
      columns.push_back({name});
    }
    const auto writer = make_row_writer(
        format, [](std::string_view text) { fmt::print("{}", text); }, std::move(columns));
    for (const LayerInfo& info : reader.layers()) {
      Json row{{"dump", header_json(reader)}};
      row.update(layer_json(reader, info));
      writer->row(row);
    }
    writer->finish();
  }
  print_problems(stderr, reader.problems());
  return reader.layers().empty() ? 1 : 0;
}

}  // namespace

void setup_inspect(CLI::App& app, cli::Command& command) {
  auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("inspect", "Show what is in a dump");
  sub->footer(R"(anchor-dump inspect dump.h5
  dump          dump.h5
  model         SmolLM2-135M-Instruct layer 17 heads 3-5
  tokens        1024, with their ids
  layers        1, 640.0 KiB
  made by       anchor_h5.py 1, 2026-11-22T06:49:16Z
  prompt_source /usr/share/common-licenses/GPL-3
  rope_json     {"rope_theta":100000.0,"rope_type":"default"}
  tokenizer     gpt2/smollm
  
  | layers | heads | rows | keys | dim | type | scale | notes |
  |-------:|------:|-----:|-----:|----:|-----:|------:|------:|
  |     17 |   3/1 | 1024 | 1024 |  64 | bf16 | 0.125 |       |
anchor-dump inspect dump.h5 --format json)");
  sub->add_option("dump", options->path, "The dump, an HDF5 file")->required()->type_name("DUMP");
  sub->add_option("--format", options->common.format, "md, csv, json or jsonl (md on a terminal, else jsonl)")
      ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
      ->type_name("FORMAT");
  sub->callback([options, &command] { command = [options] { return run(*options); }; });
}

}  // namespace anchor::dump
