#include "sweep/choice_rows.hpp"

#include <algorithm>
#include <bit>

#include "anchor/base/error.hpp"
#include "anchor/replay/row_stamp.hpp"

namespace anchor::sweep {

/// Rows by head and assignment.
std::vector<ResultRow> ChoiceRows::templates(const GroupSelection& group, std::size_t first,
                                             const std::vector<JointAssignment>& joint) const {
  std::vector<ResultRow> rows;
  std::vector<std::uint64_t> content = layer_content(reader_, group.layer);
  for (std::size_t h = 0; h < group.heads.size(); ++h) {
    for (const JointAssignment& one : joint) {
      const HeadAt& at = one.assignment.heads[first + h].at;
      ResultRow row = head_row(reader_, group.layer, group.heads[h]);
      stamp(row, stream_.engine(), request_.runs[one.run], options_.argv);
      row.kind = "sweep";
      row.extra["choice"] = one.kind;
      row.value = at.knob;
      row.density = at.density;
      row.mass_recall = at.mass_recall;
      std::vector<std::uint64_t> identity = content;
      identity.insert(identity.end(), {4, std::bit_cast<std::uint64_t>(at.knob), request_.measure_joint,
                                       one.kind == "allocation"});
      row.unit = unit_id(row, identity);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

void ChoiceRows::compute(const GroupSelection& group, const std::vector<JointAssignment>& joint,
                         Engine& engine, const LoadedGroup& loaded, std::vector<ResultRow>& rows) const {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const auto dense = engine.dense_reference(*inputs);
    const std::vector<int> locals = group.locals();
    for (std::size_t n = 0; n < joint.size(); ++n) {
      const MethodRun& run = request_.runs[joint[n].run];
      std::vector<double> knobs;
      for (std::size_t h = 0; h < locals.size(); ++h) knobs.push_back(*rows[h * joint.size() + n].value);
      const auto replays = measure_heads(engine, *inputs, *run.method, run.params, locals, knobs, *dense);
      for (std::size_t h = 0; h < locals.size(); ++h) {
        ResultRow& row = rows[h * joint.size() + n];
        fill_measured(row, replays[h]);
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (ResultRow& row : rows) row.fail(error.what());
  }
}

void ChoiceRows::finish(std::size_t first, const std::vector<ResultRow>& rows,
                        std::vector<JointAssignment>& joint) {
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const ResultRow row = shell_.emit_result(rows[at], cli::Audience::programs);
    if (row.ok()) joint[at % joint.size()].assignment.heads[first + at / joint.size()] = ChosenHead::of(row);
  }
}

namespace {

/// The first head of each group, among all heads.
std::vector<std::size_t> first_heads(const std::vector<GroupSelection>& groups) {
  std::vector<std::size_t> first{0};
  for (const GroupSelection& group : groups) first.push_back(first.back() + group.heads.size());
  return first;
}

}  // namespace

void ChoiceRows::print(const std::vector<GroupSelection>& groups, const std::vector<JointAssignment>& joint) {
  std::vector<JointAssignment> allocations;
  std::copy_if(joint.begin(), joint.end(), std::back_inserter(allocations),
               [](const JointAssignment& one) { return one.kind == "allocation"; });
  const std::vector<std::size_t> first = first_heads(groups);
  for (std::size_t n = 0; n < groups.size() && !allocations.empty(); ++n)
    finish(first[n], templates(groups[n], first[n], allocations), allocations);
}

void ChoiceRows::measure(const std::vector<GroupSelection>& groups, std::vector<JointAssignment>& joint) {
  const std::vector<std::size_t> first = first_heads(groups);
  const std::vector<StreamItem> items = stream_items(reader_, groups);
  const std::vector<JointAssignment> asked = joint;  // finish() changes them while other groups are computed
  std::vector<std::vector<ResultRow>> rows(groups.size());
  stream_.run(
      "measure: KV group", items,
      {.wanted =
           [&](std::size_t n) {
             rows[n] = templates(groups[n], first[n], asked);
             return !shell_.all_finished(rows[n]);
           },
       .compute = [&](std::size_t n, Engine& engine,
                      const LoadedGroup& loaded) { compute(groups[n], asked, engine, loaded, rows[n]); },
       .finish =
           [&](std::size_t n) {
             finish(first[n], rows[n], joint);
             rows[n] = {};
           }});
  for (JointAssignment& one : joint) {
    one.assignment.means = chosen_means(one.assignment.heads);
    one.assignment.below = heads_below(one.assignment.heads, request_.target.value);
  }
}

}  // namespace anchor::sweep
