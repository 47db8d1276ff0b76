#include "anchor/report/html_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "anchor/method/method.hpp"
#include "anchor/report/base64.hpp"
#include "anchor/report/color_map.hpp"
#include "anchor/report/eval_json.hpp"
#include "anchor/report/html_assets.hpp"
#include "anchor/report/knob_stops.hpp"
#include "anchor/report/oracle_note.hpp"
#include "anchor/report/private_paths.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {
namespace {

/// Which dump a row is about: its path, or the name of what was generated.
const std::string& dump_of(const ResultRow& row) { return row.dump_path.empty() ? row.model : row.dump_path; }

std::string extra_text(const ResultRow& row, const char* name) {
  const auto found = row.extra.find(name);
  return found == row.extra.end() ? "" : scalar_text(found->second);
}

/// JSON that may hold bytes that are no text: they are replaced.
std::string dumped(const Json& json) { return json.dump(-1, ' ', true, Json::error_handler_t::replace); }

/// Head rows of one kind, method and command: a value of every metric per head.
struct Run {
  std::vector<const ResultRow*> rows;

  /// True if some head has two rows: then the rows differ in a parameter, and each value is a run.
  bool repeats() const {
    std::set<std::pair<int, int>> seen;
    return !std::all_of(rows.begin(), rows.end(),
                        [&](const ResultRow* row) { return seen.emplace(*row->layer, *row->head).second; });
  }
};

/// Values of heads by name, one per head of the run; NaN where a head has none.
class HeadColumns {
 public:
  explicit HeadColumns(std::size_t heads) : heads_(heads) {}
  void put(std::size_t head, const std::string& name, double value) {
    if (std::isnan(value)) return;
    columns_.try_emplace(name, heads_, std::numeric_limits<float>::quiet_NaN()).first->second[head] =
        static_cast<float>(value);
  }
  void put(std::size_t head, const std::string& name, const Scalar& value) {
    if (const double* number = std::get_if<double>(&value)) put(head, name, *number);
  }
  Json json() const {
    Json packed = Json::object();
    for (const auto& [name, column] : columns_) packed[name] = base64_of(std::span<const float>(column));
    return packed;
  }

 private:
  std::size_t heads_;
  std::map<std::string, std::vector<float>> columns_;
};

/// The parameters that all rows share, which describe the run; the others are values of heads.
ScalarMap shared_params(const Run& run) {
  ScalarMap params = run.rows.front()->params;
  for (const ResultRow* row : run.rows) {
    std::erase_if(params, [&](const auto& entry) {
      const auto own = row->params.find(entry.first);
      return own == row->params.end() || own->second != entry.second;
    });
  }
  return params;
}

ParamSpec knob_of(const std::string& method);

Json run_json(const Run& run) {
  const ResultRow& first = *run.rows.front();
  Json json{{"kind", first.kind},   {"method", first.method}, {"dump", dump_of(first)},
            {"model", first.model}, {"path", first.path},     {"knob", knob_of(first.method).name}};
  if (Json geometry = geometry_json(first); !geometry.empty()) json["geometry"] = std::move(geometry);
  if (first.target) json["target"] = target_json(*first.target);
  for (const char* name : {"fitted_on", "role"})
    if (const auto found = first.extra.find(name); found != first.extra.end())
      json[name] = scalar_json(found->second);
  const ScalarMap params = shared_params(run);
  json["params"] = scalars_json(params);

  HeadColumns columns(run.rows.size());
  std::vector<std::int32_t> places;
  Json errors = Json::object();
  for (std::size_t n = 0; n < run.rows.size(); ++n) {
    const ResultRow& row = *run.rows[n];
    places.push_back(*row.layer);
    places.push_back(*row.head);
    if (!row.ok()) {
      errors[fmt::format("{}:{}", *row.layer, *row.head)] = row.error;
      continue;
    }
    for (const std::string_view name : quantity_names())
      if (const auto value = quantity(row, name)) columns.put(n, std::string(name), *value);
    for (const auto& [name, value] : row.extra) columns.put(n, name, value);
    for (const auto& [name, value] : row.params)
      if (!params.contains(name)) columns.put(n, name, value);
  }
  json["places"] = base64_of(std::span<const std::int32_t>(places));
  json["metrics"] = columns.json();
  if (!errors.empty()) json["errors"] = errors;
  return json;
}

/// A row without what its command already says.
Json bare(const ResultRow& row) {
  Json json = to_json(row);
  for (const char* name : {"schema", "unit", "argv", "tool", "t", "time_ns", "curve"}) json.erase(name);
  return json;
}

/// Every command that made rows, once: what to type, with what build, on which machine.
Json sources(const std::vector<ResultRow>& rows) {
  Json list = Json::array();
  std::map<std::string, std::size_t> known;
  for (const ResultRow& row : rows) {
    const ToolInfo& tool = row.tool ? *row.tool : tool_info();
    const auto [it, fresh] = known.emplace(dumped(Json(row.argv)) + dumped(tool_json(tool)), list.size());
    if (fresh) {
      Json source = Json::object();
      if (!row.argv.empty()) source["argv"] = row.argv;
      if (!tool.version.empty()) source["tool"] = tool_json(tool);
      if (!row.device.empty()) source["device"] = row.device;
      if (!row.env.empty()) source["env"] = scalars_json(row.env);
      if (!row.time.empty()) source["t"] = row.time;
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
  for (const char c : dumped(json)) {
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

/// The head rows of each command, method, dump and fit, in the order in which they came.
std::vector<Run> runs_of(const std::vector<const ResultRow*>& rows) {
  std::map<std::string, std::size_t> known;
  std::vector<Run> runs;
  for (const ResultRow* row : rows) {
    const Json key{row->kind,
                   dump_of(*row),
                   row->method,
                   row->argv,
                   row->target ? target_json(*row->target) : Json(),
                   row->path,
                   extra_text(*row, "role"),
                   extra_text(*row, "fitted_on")};
    const auto [it, fresh] = known.emplace(dumped(key), runs.size());
    if (fresh) runs.emplace_back();
    runs[it->second].rows.push_back(row);
  }
  return runs;
}

/// Its rows by their parameters: a run each.
std::vector<Run> parts_of(const Run& run) {
  std::vector<Run> parts;
  for (const ResultRow* row : run.rows) {
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const Run& one) { return one.rows.front()->params == row->params; });
    if (part == parts.end()) part = parts.insert(parts.end(), Run{});
    part->rows.push_back(row);
  }
  return parts;
}

/// Heads' curves of one dump, method and parameters.
struct CurveSet {
  const ResultRow* first = nullptr;
  std::vector<std::pair<int, int>> places;  ///< layer and head
  std::vector<Curve> curves;
};

std::vector<CurveSet> curve_sets(const std::vector<ResultRow>& rows) {
  std::map<std::string, std::size_t> known;
  std::vector<CurveSet> sets;
  for (const ResultRow& row : rows) {
    if (row.kind != "curve" || row.scope != "head" || !row.layer || !row.head || !row.curve) continue;
    if (row.curve->knob.empty()) continue;
    const std::string key = dumped(Json{dump_of(row), row.method, scalars_json(row.params)});
    const auto [it, fresh] = known.emplace(key, sets.size());
    if (fresh) sets.push_back({&row, {}, {}});
    CurveSet& set = sets[it->second];
    Curve curve = curve_of(*row.curve, false).points;
    if (!set.curves.empty() && curve.descending != set.curves[0].descending)
      curve.descending = !curve.descending;
    set.places.emplace_back(*row.layer, *row.head);
    set.curves.push_back(std::move(curve));
  }
  return sets;
}

/// The method's own knob: its name, kind and range.
ParamSpec knob_of(const std::string& method) {
  for (const Method& known : methods()) {
    if (known.name != method) continue;
    for (const ParamSpec& spec : known.params)
      if (spec.name == known.knob) return spec;
  }
  return {.name = "knob", .minimum = -HUGE_VAL, .maximum = HUGE_VAL};  // of a build that knows another method
}

Json curve_set_json(const CurveSet& set, const std::vector<HeadViews>& views) {
  const ResultRow& first = *set.first;
  const ParamSpec knob = knob_of(first.method);
  const Json params = scalars_json(first.params);
  std::vector<double> stops;
  for (const HeadViews& view : views)
    if (view.path == first.dump_path && view.method == first.method && view.params == params)
      stops = view.stops;
  constexpr std::size_t stops_shown = 64;
  if (stops.empty()) stops = knob_stops(knob, mean_curve(set.curves), {}, stops_shown);
  Json json{{"dump", dump_of(first)},
            {"model", first.model},
            {"method", first.method},
            {"knob", knob.name},
            {"params", params},
            {"stops", stops_json(stops)},
            {"mean", packed_means(set.curves)},
            {"heads", Json::array()}};
  if (set.curves[0].descending) json["descending"] = true;
  for (std::size_t n = 0; n < set.curves.size(); ++n) {
    Json head = packed_stops(set.curves[n], stops);
    head["layer"] = set.places[n].first;
    head["head"] = set.places[n].second;
    json["heads"].push_back(std::move(head));
  }
  return json;
}

}  // namespace

void HtmlReport::row(ResultRow row) {
  const std::string key = row.unit.empty() ? fmt::format("#{}", rows_.size()) : row.unit;
  const auto [it, fresh] = units_.emplace(key, rows_.size());
  if (fresh) {
    rows_.push_back(std::move(row));
  } else {
    rows_[it->second] = std::move(row);
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

  std::vector<const ResultRow*> of_heads;
  for (const ResultRow& row : rows_) {
    const bool of_head = row.scope == "head" && row.layer && row.head;
    if (row.kind == "bench") {
      data["bench"].push_back(bare(row));
    } else if (row.kind == "curve" || row.kind == "eval") {
      continue;
    } else if (of_head) {
      of_heads.push_back(&row);
    } else {
      data["tables"].push_back(bare(row));
    }
  }
  for (const CurveSet& set : curve_sets(rows_)) data["curves"].push_back(curve_set_json(set, views_));
  for (const Run& run : runs_of(of_heads)) {
    if (run.repeats()) {
      for (const Run& part : parts_of(run)) data["runs"].push_back(run_json(part));
    } else {
      data["runs"].push_back(run_json(run));
    }
  }
  for (const HeadViews& views : views_) data["views"].push_back(packed(views));
  if (Json eval = eval_json(rows_); !eval.is_null()) data["eval"] = std::move(eval);
  data["notes"] = Json::object();
  for (const ResultRow& row : rows_)
    if (const std::string note = oracle_note(row.method); !note.empty()) data["notes"][row.method] = note;
  hide_places(data);

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
