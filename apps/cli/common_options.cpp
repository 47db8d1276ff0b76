#include "cli/common_options.hpp"

#include <fmt/ranges.h>

#include <sstream>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/devices.hpp"
#include "anchor/rows/provenance.hpp"
#include "cli/number.hpp"
#include "cli/streams.hpp"
#include "cli/terminal.hpp"

namespace anchor::cli {
namespace {

constexpr const char* output_group = "Output";
constexpr const char* machine_group = "Machine";

std::string value_text(const ParamSpec& spec) {
  if (spec.kind == ParamSpec::Kind::choice) return fmt::format("{}", fmt::join(spec.choices, "|"));
  if (const auto* word = std::get_if<std::string>(&spec.default_value)) return *word;
  return format_number(std::get<double>(spec.default_value));
}

void list_methods() {
  for (const Method& method : methods()) {
    fmt::print("{}", method.name);
    if (!method.knob.empty()) fmt::print("  (knob {})", method.knob);
    fmt::print("\n");
    if (!method.title.empty())
      fmt::print("    {}{}{}\n", method.title, method.arxiv.empty() ? "" : ", arXiv ", method.arxiv);
    for (const ParamSpec& spec : method.params) {
      fmt::print("    {:<24} {}\n", fmt::format("{}={}", spec.name, value_text(spec)), spec.help);
    }
  }
}

}  // namespace

std::string version_text() {
  const ToolInfo& tool = tool_info();
  return fmt::format("anchor {} ({}{}, {})", tool.version, tool.git_sha, tool.dirty ? ", modified" : "",
                     tool.build);
}

std::string CommonOptions::stdout_format() const {
  return !format.empty() ? format : stdout_is_terminal() ? "md" : "jsonl";
}

std::int64_t CommonOptions::memory_limit() const {
  if (memory.empty()) return 0;
  const auto bytes = parse_number(memory);
  if (!bytes || !(*bytes >= 1) || *bytes > 9e18)
    fail_usage("--memory: \"{}\" is not a size such as 4G or 512M", memory);
  return static_cast<std::int64_t>(*bytes);
}

void CommonOptions::note(const std::string& line) const {
  if (!quiet) print_note(line, verbose > 0);
}

void add_common(CLI::App& app, CommonOptions& options) {
  app.set_version_flag("--version", version_text(), "Print the version and the commit");
  app.add_flag_callback(
         "--list-methods",
         [] {
           list_methods();
           throw CLI::Success();
         },
         "Print every method with its parameters and defaults")
      ->configurable(false)
      ->group("Method");
  app.allow_config_extras(CLI::config_extras_mode::error);  // a misspelt key must not run the defaults
  app.set_config("--config", "", "Read options from a TOML file (flag > file > default)");
  app.add_flag_callback(
         "--print-config",
         [&app] {
           std::istringstream lines(app.config_to_str(true, false));
           for (std::string line; std::getline(lines, line);) {
             if (!line.ends_with("=\"\"")) fmt::print("{}\n", line);  // what nothing sets has no line
           }
           throw CLI::Success();
         },
         "Print the options as a TOML file and stop")
      ->configurable(false);
  app.add_option("--threads", options.threads, "CPU threads, 0 = all cores")
      ->transform(whole_number(0, 4096))
      ->type_name("N")
      ->group(machine_group);
  app.add_option("--memory", options.memory, "Host memory for KV groups read ahead and worked on, such as 4G")
      ->type_name("SIZE")
      ->group(machine_group);
  app.add_flag("-q,--quiet", options.quiet, "Nothing on stderr but errors")->group(output_group);
  app.add_flag("-v,--verbose", options.verbose, "More on stderr")->group(output_group);
}

void add_output(CLI::App& app, CommonOptions& options) {
  app.add_option("--format", options.format, "Of stdout: md, csv, json, jsonl (md on a terminal, else jsonl)")
      ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
      ->type_name("FORMAT")
      ->group(output_group);
  app.add_option("-o,--out", options.out, "Write rows to a file, format by suffix; repeatable")
      ->type_name("FILE")
      ->group(output_group)
      ->allow_extra_args(false);
  app.add_option_function<std::string>(
         "--html",
         [&options](const std::string& path) {
           if (!path.ends_with(".html")) throw CLI::ValidationError("--html", path + " must end in .html");
           options.out.push_back(path);
         },
         "Write the rows as a report to open in a browser")
      ->type_name("FILE")
      ->group(output_group)
      ->configurable(false);
  app.add_flag("--resume", options.resume, "Continue --out X.jsonl: only what it lacks is computed")
      ->group(output_group);
}

void add_shard(CLI::App& app, std::string& shard, const char* pieces) {
  app.add_option("--shard", shard,
                 fmt::format("Only every N-th of the {}, from I = 0 on, for anchor-report merge; auto: as "
                             "Slurm's environment says",
                             pieces))
      ->type_name("I/N")
      ->group(machine_group);
}

void add_device(CLI::App& app, CommonOptions& options) {
  app.add_option("--device", options.device,
                 "auto, reference, cpu, cuda, cuda:N; recall and sweep: cuda:N,M, cuda:all")
      ->capture_default_str()
      ->type_name("DEVICE")
      ->group(machine_group);
}

std::unique_ptr<Engine> open_engine(const CommonOptions& options) {
  set_threads(options.threads);
  return make_engine(options.device);
}

}  // namespace anchor::cli
