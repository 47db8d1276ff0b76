#include <cmath>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {
namespace {

/// The fields of one JSON object, read by name with their types. Every field that was asked for is known.
class Fields {
 public:
  /// `prefix`: of the object's own name in messages, such as "dump.".
  Fields(const Json& object, const std::string& where, std::string prefix = "")
      : object_(object), where_(where), prefix_(std::move(prefix)) {
    if (!object.is_object()) wrong("", "is not an object");
  }

  const Json* find(const char* name) {
    known_.insert(name);
    const auto it = object_.find(name);
    return it == object_.end() ? nullptr : &*it;
  }
  const Json& need(const char* name) {
    const Json* found = find(name);
    if (found == nullptr) wrong(name, "is missing");
    return *found;
  }

  void text(const char* name, std::string& value) {
    if (const Json* found = find(name)) value = text_of(*found, name);
  }
  void number(const char* name, std::optional<double>& value) {
    if (const Json* found = find(name)) value = number_of(*found, name);
  }
  template <class Integer>
  void integer(const char* name, std::optional<Integer>& value) {
    if (const Json* found = find(name)) value = static_cast<Integer>(integer_of(*found, name));
  }
  std::int64_t need_integer(const char* name) { return integer_of(need(name), name); }
  double need_number(const char* name) { return number_of(need(name), name); }
  std::string need_text(const char* name) { return text_of(need(name), name); }
  void numbers(const char* name, std::vector<double>& values) {
    const Json* found = find(name);
    if (found == nullptr) return;
    if (!found->is_array()) wrong(name, "is not a list");
    for (const Json& one : *found) values.push_back(number_of(one, name));
  }
  void scalars(const char* name, ScalarMap& map) {
    const Json* found = find(name);
    if (found == nullptr) return;
    if (!found->is_object()) wrong(name, "is not an object");
    for (const auto& [key, value] : found->items()) map[key] = scalar_of(value, name);
  }
  std::optional<Fields> object(const char* name) {
    const Json* found = find(name);
    return found ? std::optional<Fields>(std::in_place, *found, where_, prefix_ + name + ".") : std::nullopt;
  }

  /// Fields that nobody asked for.
  template <class Use>
  void rest(Use use) const {
    for (const auto& [key, value] : object_.items())
      if (!known_.contains(key)) use(key, value);
  }

  [[noreturn]] void wrong(const std::string& name, const char* what) const {
    std::string field = prefix_ + name;
    if (field.ends_with('.')) field.pop_back();
    fail("{}: field \"{}\" {}", where_, field.empty() ? "(row)" : field, what);
  }

  std::int64_t integer_of(const Json& value, const std::string& name) const {
    if (!value.is_number_integer()) wrong(name, "is not a whole number");
    return value.get<std::int64_t>();
  }
  double number_of(const Json& value, const std::string& name) const {
    if (value == "nan") return std::nan("");
    const auto number = number_from_json(value);
    if (!number) wrong(name, "is not a number");
    return *number;
  }
  std::string text_of(const Json& value, const std::string& name) const {
    if (!value.is_string()) wrong(name, "is not a text");
    return value.get<std::string>();
  }
  Scalar scalar_of(const Json& value, const std::string& name) const {
    if (value.is_string() || value.is_number()) return scalar_from_json(value);
    wrong(name, "holds neither numbers nor texts");
  }

 private:
  const Json& object_;
  const std::string& where_;
  std::string prefix_;
  std::set<std::string, std::less<>> known_;
};

void read_dump(Fields dump, ResultRow& row) {
  dump.text("path", row.dump_path);
  dump.text("model", row.model);
  dump.integer("layer", row.layer);
  dump.integer("head", row.head);
  dump.integer("kv_head", row.kv_head);
}

void read_geometry(Fields fields, ResultRow& row) {
  fields.text("dtype", row.dtype);
  if (fields.find("q_len") == nullptr) return;
  Geometry geometry;
  geometry.q_heads = static_cast<int>(fields.need_integer("q_heads"));
  geometry.kv_heads = static_cast<int>(fields.need_integer("kv_heads"));
  geometry.q_len = fields.need_integer("q_len");
  geometry.kv_len = fields.need_integer("kv_len");
  geometry.q_start = fields.need_integer("q_start");
  geometry.head_dim = static_cast<int>(fields.need_integer("head_dim"));
  row.geometry = geometry;
}

CurvePoints read_curve(Fields fields) {
  CurvePoints curve;
  fields.numbers("knob", curve.knob);
  fields.numbers("density", curve.density);
  fields.numbers("mass_recall", curve.mass_recall);
  fields.numbers("mass_recall_p05", curve.mass_recall_p05);
  fields.numbers("mass_recall_min", curve.mass_recall_min);
  fields.numbers("out_rel_l2", curve.out_rel_l2);
  const std::size_t points = curve.knob.size();
  if (points == 0) fields.wrong("knob", "is empty or missing");
  if (curve.density.size() != points) fields.wrong("density", "is not as long as the knobs");
  if (curve.mass_recall.size() != points) fields.wrong("mass_recall", "is not as long as the knobs");
  for (const auto* column : {&curve.mass_recall_p05, &curve.mass_recall_min, &curve.out_rel_l2})
    if (!column->empty() && column->size() != points)
      fields.wrong("", "has columns that are not as long as the knobs");
  return curve;
}

SparsityStats read_sparsity(Fields fields) {
  SparsityStats stats;
  fields.numbers("density_by_position", stats.density_by_position);
  fields.number("stripe_persistence", stats.stripe_persistence);
  fields.number("shared_stripe_density", stats.shared_stripe_density);
  stats.sink_share = fields.need_number("sink_share");
  if (auto places = fields.object("row_max"))
    stats.row_max = {places->need_number("initial"), places->need_number("local"),
                     places->need_number("elsewhere")};
  return stats;
}

void read_times(Fields& fields, ResultRow& row) {
  if (const Json* samples = fields.find("time_ns")) {
    if (!samples->is_object()) fields.wrong("time_ns", "is not an object");
    for (const auto& [stage, list] : samples->items()) {
      if (!list.is_array()) fields.wrong("time_ns", "holds something other than lists");
      for (const Json& one : list) row.time_ns[stage].push_back(fields.integer_of(one, "time_ns"));
    }
  }
  if (const Json* stages = fields.find("stages_ns")) {
    if (!stages->is_object()) fields.wrong("stages_ns", "is not an object");
    for (const auto& [stage, time] : stages->items())
      row.stages_ns[stage] = fields.integer_of(time, "stages_ns");
  }
  if (auto stats = fields.object("stats")) {
    std::vector<double> interval;
    stats->numbers("ci95_ns", interval);
    if (interval.size() != 2) stats->wrong("ci95_ns", "does not hold two numbers");
    row.stats = {stats->need_number("median_ns"), interval[0], interval[1],
                 static_cast<int>(stats->need_integer("n"))};
  }
}

}  // namespace

ResultRow row_from_json(const Json& json, const std::string& where) {
  Fields fields(json, where);
  ResultRow row;
  fields.need("schema");
  fields.text("unit", row.unit);
  row.kind = fields.need_text("kind");
  fields.text("scope", row.scope);
  row.status = fields.need_text("status");
  fields.text("error", row.error);
  if (auto dump = fields.object("dump")) read_dump(std::move(*dump), row);
  if (auto geometry = fields.object("geometry")) read_geometry(std::move(*geometry), row);
  fields.text("method", row.method);
  fields.scalars("params", row.params);
  fields.text("device", row.device);
  fields.text("path", row.path);
  fields.text("plan_path", row.plan_path);
  fields.number("density", row.density);
  fields.number("work_density", row.work_density);
  fields.number("stripe_density", row.stripe_density);
  fields.number("mass_recall", row.mass_recall);
  fields.number("mass_recall_p05", row.mass_recall_p05);
  fields.number("mass_recall_min", row.mass_recall_min);
  fields.number("output_recall_0.01", row.output_recall_001);
  fields.number("output_recall_0.005", row.output_recall_0005);
  fields.number("out_rel_l2", row.out_rel_l2);
  fields.number("out_max_abs", row.out_max_abs);
  fields.number("out_mean_abs", row.out_mean_abs);
  if (auto sparsity = fields.object("sparsity")) row.sparsity = read_sparsity(std::move(*sparsity));
  if (auto target = fields.object("target"))
    row.target = {target->need_text("metric"), target->need_text("statistic"), target->need_number("value")};
  fields.number("value", row.value);
  if (auto curve = fields.object("curve")) row.curve = read_curve(std::move(*curve));
  read_times(fields, row);
  row.tool.emplace();
  if (auto tool = fields.object("tool")) {
    tool->text("version", row.tool->version);
    tool->text("git_sha", row.tool->git_sha);
    tool->text("build", row.tool->build);
    if (const Json* dirty = tool->find("dirty")) {
      if (!dirty->is_boolean()) tool->wrong("dirty", "is not true or false");
      row.tool->dirty = dirty->get<bool>();
    }
  }
  fields.scalars("env", row.env);
  if (const Json* argv = fields.find("argv")) {
    if (!argv->is_array()) fields.wrong("argv", "is not a list");
    for (const Json& word : *argv) row.argv.push_back(fields.text_of(word, "argv"));
  }
  fields.text("t", row.time);
  fields.rest([&](const std::string& key, const Json& value) {
    if (value.is_number() || value.is_string()) row.extra[key] = scalar_from_json(value);
  });
  return row;
}

}  // namespace anchor
