#include "cli/dump_options.hpp"

#include <set>

#include "anchor/base/lists.hpp"

namespace anchor::cli {
namespace {

/// Ascending, each once.
std::vector<int> numbers(const std::string& text, const char* flag) {
  std::set<int> found;
  for (const std::int64_t number : parse_integers(text, flag, 0, 999'999))
    found.insert(static_cast<int>(number));
  return {found.begin(), found.end()};
}

void add_part(CLI::App& app, DumpOptions& options) {
  app.add_option("--layers", options.layers, "Layers, such as 0-3 or 0,7 (default all)")->type_name("LIST");
  app.add_option("--heads", options.heads, "Query heads, such as 0,2 (default all)")->type_name("LIST");
  app.add_flag("--allow-incomplete", options.allow_incomplete,
               "Take the complete layers of an unfinished dump");
}

}  // namespace

void add_dump(CLI::App& app, DumpOptions& options, bool required) {
  app.add_option("DUMP", options.path, "Dump of queries, keys and values (HDF5)")->required(required);
  add_part(app, options);
}

std::vector<std::string> DumpsOptions::paths() const {
  std::vector<std::string> found;
  for (const std::string& list : given)
    for (std::string& one : split_list(list, "DUMPS")) found.push_back(std::move(one));
  return found;
}

void add_dumps(CLI::App& app, DumpsOptions& options, const std::string& help) {
  app.add_option("DUMPS", options.given, help)->required();
  add_part(app, options);
}

DumpReader open_dump(const std::string& path, const DumpOptions& options) {
  return DumpReader(path, options.allow_incomplete ? DumpReader::Strictness::allow_incomplete
                                                   : DumpReader::Strictness::complete);
}

std::vector<GroupSelection> select_groups(const DumpReader& reader, const DumpOptions& options) {
  HeadSelection selection;
  if (!options.layers.empty()) selection.layers = numbers(options.layers, "--layers");
  if (!options.heads.empty()) selection.heads = numbers(options.heads, "--heads");
  return anchor::select_groups(reader, selection);
}

}  // namespace anchor::cli
