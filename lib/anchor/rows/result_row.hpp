#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/base/geometry.hpp"
#include "anchor/base/row_range.hpp"
#include "anchor/rows/eval_result.hpp"
#include "anchor/rows/json.hpp"
#include "anchor/rows/provenance.hpp"
#include "anchor/rows/sparsity.hpp"
#include "anchor/rows/target.hpp"

namespace anchor {

/// What the field "schema" of every row says.
inline constexpr const char* result_schema = "anchor-result/1";

/// A right-continuous step function of the knob, ordered by density; equal lengths.
struct CurvePoints {
  std::vector<double> knob, density, mass_recall;
  std::vector<double> mass_recall_p05, mass_recall_min,
      out_rel_l2;  ///< of points whose plans were run; or empty
};

/// One result, schema "anchor-result/1" (data/ROWS.md names every field). An empty optional or container is
/// a field that does not apply: it is absent from the row, never zero.
struct ResultRow {
  std::string kind;            ///< recall, sweep, curve, bench, eval
  std::string scope = "head";  ///< head, layer, all
  std::string status = "ok";   ///< ok, error, skipped
  std::string error;           ///< one line, when status is not ok

  std::string dump_path, model;
  std::optional<int> layer, head, kv_head;
  std::optional<Geometry> geometry;
  std::optional<RowRange> rows;  ///< the query rows that the metrics speak of; all of them if empty
  std::string dtype;

  std::string method;
  ScalarMap params;
  std::string device, path, plan_path;

  std::optional<double> density, work_density, stripe_density;
  std::optional<double> mass_recall, mass_recall_p05, mass_recall_min;
  /// Share of the pairs of that dense weight that the plan keeps, and how many there are.
  std::optional<double> peak_recall_025, peak_recall_00625, peak_pairs_025, peak_pairs_00625;
  std::optional<double> output_recall_001, output_recall_0005, out_rel_l2, out_max_abs, out_mean_abs;

  std::optional<Target> target;
  std::optional<double> value;  ///< the knob that a search found
  std::optional<CurvePoints> curve;

  std::map<std::string, std::vector<std::int64_t>> time_ns;  ///< samples: plan, execute, total
  std::map<std::string, std::int64_t> stages_ns;
  struct Stats {
    double median_ns = 0, ci95_low_ns = 0, ci95_high_ns = 0;
    int n = 0;  ///< samples

    /// Fewer than six samples have no 95 % interval of their median: even their extremes enclose it more
    /// rarely.
    static constexpr int least_samples = 6;
    bool has_interval() const { return n >= least_samples && ci95_high_ns > 0; }
  };
  std::optional<Stats> stats;

  std::optional<SparsityStats> sparsity;
  ScalarMap extra;  ///< further fields of one tool, at the top level
  ScalarMap env;
  std::vector<std::string> argv;
  std::string unit;  ///< unit_id() of the row

  /// In rows that were read from a file: the build that made them (its version is empty if the file does not
  /// say), and when. to_json() stamps a row that has none with this build and the present time.
  std::optional<ToolInfo> tool;
  std::string time;

  std::optional<EvalResult> eval;  ///< of kind eval

  bool ok() const { return status == "ok"; }
  /// Makes it a row without a result, which says why.
  void fail(const std::string& why) {
    status = "error";
    error = why;
  }
};

/// A measured quantity by its name in rows: density, mass_recall, out_rel_l2, value, ... or a number among
/// `extra`; nothing if the row lacks it.
std::optional<double> quantity(const ResultRow& row, std::string_view name);
/// The names of the quantities that have a field of their own, in the order of the schema.
std::span<const std::string_view> quantity_names();

/// The row as JSON in the schema's field order. Numbers keep full precision; infinities are the strings "inf"
/// and "-inf".
Json to_json(const ResultRow& row);
/// The row back, every field with its type and range. A data error starts with `where` and names the field
/// that is missing or wrong. Fields that the schema does not know are kept in `extra` if they are numbers or
/// strings.
ResultRow row_from_json(const Json& json, const std::string& where);
/// Does the JSON say that it is a row of this schema?
bool is_result_row(const Json& json);
/// The JSON of one line of a jsonl file; empty unless it is JSON of this schema.
std::optional<Json> parse_row(std::string_view line);

/// A number as rows store it: whole numbers as integers, infinities as strings.
Json json_number(double value);
/// Reads such a number back; empty if the value is neither.
std::optional<double> number_from_json(const Json& value);

Json scalar_json(const Scalar& value);
Json scalars_json(const ScalarMap& map);
/// Such a value read back: a number, or else a string.
Scalar scalar_from_json(const Json& value);
Json target_json(const Target& target);
Json geometry_json(const ResultRow& row);  ///< shapes and element type; an empty object if neither is known
Json tool_json(const ToolInfo& tool);

/// Identity of a row, 16 hex digits: XXH3 of the whole request that it answers: what the row says of it
/// (schema, kind, layer, head, shapes, softmax scale, element type, method, sorted parameters, target, path)
/// and the build. `content` holds all else that determines the row: hashes of the q, k and v that it is
/// computed from (layer_content()), of other files that are read, and options that the row does not name
/// (option_hash()). Equal units are the same result; --resume and merges go by it.
std::string unit_id(const ResultRow& row, std::span<const std::uint64_t> content);

/// A number for `content` from the text of an option or of a file.
std::uint64_t option_hash(std::string_view text);

}  // namespace anchor
