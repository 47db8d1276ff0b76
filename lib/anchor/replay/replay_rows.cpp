#include "anchor/replay/replay_rows.hpp"

#include <bit>

#include "anchor/base/error.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/replay/replay.hpp"
#include "anchor/replay/row_stamp.hpp"
#include "anchor/replay/sparsity_stats.hpp"

namespace anchor {

/// What determines the rows of a method besides what they say themselves. A plan may depend on the knobs of
/// all heads of the group.
std::vector<std::uint64_t> ReplayRows::identity(const DumpReader& reader, const MethodRequest& asked) const {
  std::vector<std::uint64_t> content = layer_content(reader, group_.layer);
  content.push_back(sparsity_);
  for (const double knob : asked.request.knobs) content.push_back(std::bit_cast<std::uint64_t>(knob));
  for (const Params& own : asked.request.head_params)
    content.push_back(option_hash(json_text(scalars_json(own.values()))));
  for (const ParamSpec& spec : asked.method->params)
    if (spec.kind == ParamSpec::Kind::text && !asked.request.params.text(spec.name).empty())
      content.push_back(sample_hash(asked.request.params.text(spec.name)));
  if (asked.request.state) content.insert(content.end(), context_.begin(), context_.end());
  return content;
}

std::vector<ResultRow> ReplayRows::templates(const DumpReader& reader, const Engine& engine,
                                             const std::vector<std::string>& argv) const {
  std::vector<std::vector<std::uint64_t>> content;
  for (const MethodRequest& asked : methods_) content.push_back(identity(reader, asked));
  std::vector<ResultRow> rows;
  for (const int head : group_.heads) {
    const int local = head - group_.first_head;
    for (std::size_t n = 0; n < methods_.size(); ++n) {
      const MethodRequest& asked = methods_[n];
      ResultRow row = head_row(reader, group_.layer, head);
      row.kind = "recall";
      row.rows = metric_rows_;
      stamp(row, engine, {asked.method, asked.request.of(local)}, argv);
      const std::string& knob = asked.method->knob;
      if (!knob.empty()) row.params[knob] = asked.request.knob(knob, local);
      row.unit = unit_id(row, content[n]);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

/// What the method itself tells of the selected heads.
std::vector<ScalarMap> ReplayRows::measure_heads(std::size_t n, const KvGroup& group) const {
  const auto& [method, request] = methods_[n];
  const FloatGroup floats(group);
  std::vector<ScalarMap> measured;
  for (const int local : group_.locals()) {
    ScalarMap& fields = measured.emplace_back();
    for (const auto& [name, value] : method->measure(floats.view(), local, request)) fields[name] = value;
  }
  return measured;
}

void ReplayRows::fill_method(std::size_t n, std::span<ResultRow> rows, Engine& engine, const Inputs& inputs,
                             DenseReference& dense, const KvGroup& group) const {
  const auto& [method, request] = methods_[n];
  const Replay result = replay(engine, inputs, *method, request, dense);
  std::vector<SparsityStats> sparsity;
  if (sparsity_) sparsity = sparsity_stats(engine, inputs, *method, request);
  std::optional<std::vector<ScalarMap>> measured;
  if (sparsity_ && method->measure) measured = measure_heads(n, group);
  for (std::size_t h = 0; h < group_.heads.size(); ++h) {
    ResultRow& row = rows[h * methods_.size() + n];
    const auto local = static_cast<std::size_t>(group_.heads[h] - group_.first_head);
    row.plan_path = result.plan_path;
    if (sparsity_) row.sparsity = sparsity[local];
    if (measured) row.extra.insert(measured->at(h).begin(), measured->at(h).end());
    fill_measured(row, result.heads[local]);
  }
}

void ReplayRows::fill(std::span<ResultRow> rows, Engine& engine, const LoadedGroup& loaded) const {
  const auto fail_rows = [&](std::size_t first, std::size_t step, const std::string& why) {
    for (std::size_t n = first; n < rows.size(); n += step) rows[n].fail(why);
  };
  if (!loaded.error.empty()) return fail_rows(0, 1, loaded.error);
  std::unique_ptr<Inputs> inputs;
  std::unique_ptr<DenseReference> dense;
  try {
    inputs = engine.upload(loaded.group);
    dense =
        metric_rows_ ? host_dense_reference(engine, *inputs, metric_rows_) : engine.dense_reference(*inputs);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    return fail_rows(0, 1, error.what());
  }
  for (std::size_t n = 0; n < methods_.size(); ++n) {
    try {
      fill_method(n, rows, engine, *inputs, *dense, loaded.group);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      fail_rows(n, methods_.size(), error.what());
    }
  }
}

}  // namespace anchor
