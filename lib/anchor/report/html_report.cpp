#include "anchor/report/html_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "anchor/report/base64.hpp"
#include "anchor/report/color_map.hpp"
#include "anchor/report/html_assets.hpp"
#include "anchor/report/table.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {
namespace {

constexpr std::size_t curve_points_kept = 128;

/// What rows say besides results; a report keeps it once per command.
bool is_provenance(const std::string& name) {
  return name == "schema" || name == "unit" || name == "env" || name == "argv" || name == "tool" ||
         name == "t";
}

/// Which dump a row is about: its path, or the name of what was generated.
std::string dump_of(const Json& row) {
  const std::string path = field_text(row, "dump.path");
  return path.empty() ? field_text(row, "dump.model") : path;
}

/// Head rows of one kind, method and command: a value of every metric per head.
struct Run {
  std::vector<const Json*> rows;

  /// True if some head has two rows: then the rows differ in a parameter, and each value is a run.
  bool repeats() const {
    std::set<std::pair<int, int>> seen;
    return !std::all_of(rows.begin(), rows.end(), [&](const Json* row) {
      return seen.emplace((*row)["dump"]["layer"].get<int>(), (*row)["dump"]["head"].get<int>()).second;
    });
  }
};

Json run_json(const Run& run) {
  const Json& first = *run.rows.front();
  Json json{{"kind", first["kind"]},
            {"method", first["method"]},
            {"dump", dump_of(first)},
            {"model", field_text(first, "dump.model")},
            {"path", field_text(first, "path")}};
  for (const char* name : {"geometry", "target", "fitted_on", "role"}) {
    if (first.contains(name)) json[name] = first[name];
  }
  // Parameters that all rows share describe the run; the others are values of heads.
  std::map<std::string, std::vector<float>> metrics;
  std::vector<std::int32_t> places;
  Json errors = Json::object();
  Json params = first.value("params", Json::object());
  for (const Json* row : run.rows) {
    const Json own = row->value("params", Json::object());
    for (auto it = params.begin(); it != params.end();) {
      it = own.value(it.key(), Json()) == it.value() ? ++it : params.erase(it);
    }
  }
  json["params"] = params;
  const auto put = [&](const std::string& name, const Json& value) {
    const std::optional<double> number = value.is_boolean() ? std::nullopt : number_from_json(value);
    if (!number) return;
    auto& column = metrics[name];
    column.resize(places.size() / 2 - 1, std::numeric_limits<float>::quiet_NaN());
    column.push_back(static_cast<float>(*number));
  };
  for (const Json* row : run.rows) {
    const int layer = (*row)["dump"]["layer"].get<int>(), head = (*row)["dump"]["head"].get<int>();
    places.push_back(layer);
    places.push_back(head);
    if (field_text(*row, "status") != "ok") {
      errors[fmt::format("{}:{}", layer, head)] = field_text(*row, "error");
      continue;
    }
    for (const auto& [name, value] : row->items()) {
      if (!is_provenance(name)) put(name, value);
    }
    const Json own = row->value("params", Json::object());
    for (const auto& [name, value] : own.items()) {
      if (!params.contains(name)) put(name, value);
    }
  }
  json["places"] = base64_of(std::span<const std::int32_t>(places));
  json["metrics"] = Json::object();
  for (auto& [name, column] : metrics) {
    column.resize(places.size() / 2, std::numeric_limits<float>::quiet_NaN());
    json["metrics"][name] = base64_of(std::span<const float>(column));
  }
  if (!errors.empty()) json["errors"] = errors;
  return json;
}

/// A row without what its command already says.
Json bare(const Json& row) {
  Json json = row;
  for (const char* name : {"schema", "unit", "argv", "tool", "t", "time_ns", "curve"}) json.erase(name);
  return json;
}

/// Every command that made rows, once: what to type, with what build, on which machine.
Json sources(const std::vector<Json>& rows) {
  Json list = Json::array();
  std::map<std::string, std::size_t> known;
  for (const Json& row : rows) {
    const std::string key = row.value("argv", Json()).dump(-1, ' ', true, Json::error_handler_t::replace) +
                            row.value("tool", Json()).dump();
    const auto [it, fresh] = known.emplace(key, list.size());
    if (fresh) {
      Json source = Json::object();
      for (const char* name : {"argv", "tool", "device", "env", "t"}) {
        if (row.contains(name)) source[name] = row[name];
      }
      source["rows"] = 0;
      list.push_back(source);
    }
    list[it->second]["rows"] = list[it->second]["rows"].get<int>() + 1;
  }
  return list;
}

std::string palette() {
  std::string colors;
  for (int n = 0; n < 256; ++n) colors += hex(color_map(n / 255.0)).substr(1);
  return colors;
}

/// JSON that may stand inside a script element: ASCII, and no "<".
std::string script_data(const Json& json) {
  std::string safe;
  for (const char c : json.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

/// "sha256-…" as a content policy has it, from the hash in hex.
std::string policy_hash(std::string_view hex_digest) {
  std::vector<unsigned char> bytes;
  for (std::size_t n = 0; n + 1 < hex_digest.size(); n += 2)
    bytes.push_back(static_cast<unsigned char>(std::stoi(std::string(hex_digest.substr(n, 2)), nullptr, 16)));
  return "'sha256-" + base64(bytes) + "'";
}

}  // namespace

void HtmlReport::row(const Json& row) {
  const std::string unit = field_text(row, "unit");
  const auto [it, fresh] =
      units_.emplace(unit.empty() ? fmt::format("#{}", rows_.size()) : unit, rows_.size());
  if (fresh) {
    rows_.push_back(row);
  } else {
    rows_[it->second] = row;
  }
}

std::string HtmlReport::render(const std::vector<std::string>& argv) const {
  const ToolInfo& tool = tool_info();
  Json data{
      {"made", {{"version", tool.version}, {"git_sha", tool.git_sha}, {"t", utc_now()}, {"argv", argv}}},
      {"palette", palette()},
      {"sources", sources(rows_)},
      {"runs", Json::array()},
      {"curves", Json::array()},
      {"tables", Json::array()},
      {"bench", Json::array()},
      {"views", Json::array()}};

  std::map<std::string, Run> runs;
  std::map<std::string, std::size_t> curve_sets;
  std::vector<std::string> order;
  for (const Json& row : rows_) {
    const std::string kind = field_text(row, "kind"), scope = field_text(row, "scope");
    if (kind == "bench") {
      data["bench"].push_back(bare(row));
    } else if (kind == "curve") {
      if (scope != "head" || !row.contains("curve")) continue;
      const std::string key = dump_of(row) + field_text(row, "method") + row.value("params", Json()).dump();
      const auto [it, fresh] = curve_sets.emplace(key, data["curves"].size());
      if (fresh) {
        data["curves"].push_back({{"dump", dump_of(row)},
                                  {"model", field_text(row, "dump.model")},
                                  {"method", row["method"]},
                                  {"params", row.value("params", Json::object())},
                                  {"heads", Json::array()}});
      }
      Json curve = packed_curve(
          thin_to(curve_of(*row_from_json(row, "a curve row").curve, false).points, curve_points_kept));
      curve["layer"] = row["dump"]["layer"];
      curve["head"] = row["dump"]["head"];
      data["curves"][it->second]["heads"].push_back(curve);
    } else if (scope == "head") {
      const std::string key = kind + dump_of(row) + field_text(row, "method") +
                              row.value("argv", Json()).dump() + row.value("target", Json()).dump() +
                              field_text(row, "path") + field_text(row, "role") +
                              field_text(row, "fitted_on");
      if (!runs.contains(key)) order.push_back(key);
      runs[key].rows.push_back(&row);
    } else {
      data["tables"].push_back(bare(row));
    }
  }
  for (const std::string& key : order) {
    const Run& run = runs[key];
    if (!run.repeats()) {
      data["runs"].push_back(run_json(run));
      continue;
    }
    std::vector<std::pair<std::string, Run>> parts;
    for (const Json* row : run.rows) {
      const std::string params = row->value("params", Json()).dump();
      const auto same = [&](const auto& part) { return part.first == params; };
      if (std::none_of(parts.begin(), parts.end(), same)) parts.push_back({params, {}});
      std::find_if(parts.begin(), parts.end(), same)->second.rows.push_back(row);
    }
    for (const auto& part : parts) data["runs"].push_back(run_json(part.second));
  }
  for (const HeadViews& views : views_) data["views"].push_back(packed(views));

  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {}; style-src "
      "{}; "
      "base-uri 'none'; form-action 'none'\">\n"
      "<title>Sparse attention report</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<noscript>This report draws its pictures with the script inside this file; please allow "
      "it.</noscript>\n"
      "<script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n</body>\n</html>\n",
      policy_hash(html_script_sha256), policy_hash(html_style_sha256), html_style, script_data(data),
      html_script);
}

}  // namespace anchor
