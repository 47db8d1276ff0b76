#include "sweep/choices.hpp"

#include <algorithm>
#include <bit>

#include "anchor/base/error.hpp"
#include "anchor/tuning/allocation.hpp"
#include "sweep/layer_sweep.hpp"

namespace anchor::sweep {

std::vector<AllocatedScope> allocate(const Options& options, const Request& request, const Findings& found,
                                     Choice& choice) {
  std::vector<AllocatedScope> scopes;
  choice.heads = found.heads;
  const bool by_layer = options.allocate == "layer";
  for (std::size_t begin = 0; begin < found.heads.size();) {
    std::size_t end = by_layer ? begin : found.heads.size();
    while (end < found.heads.size() && found.heads[end].layer == found.heads[begin].layer) ++end;
    const auto fronts = std::span(found.fronts).subspan(begin, end - begin);
    AllocatedScope scope{.allocation = options.budget ? allocate_for_density(fronts, *options.budget)
                                                      : allocate_for_recall(fronts, request.target.value),
                         .heads = static_cast<double>(end - begin),
                         .worst_recall = 1};
    if (by_layer) scope.layer = found.heads[begin].layer;
    for (std::size_t h = begin; h < end; ++h) {
      const CurvePoint point = found.fronts[h].point(scope.allocation.point[h - begin]);
      choice.heads[h] = {.layer = found.heads[h].layer,
                         .head = found.heads[h].head,
                         .value = point.knob,
                         .density = point.density,
                         .recall = point.mass_recall};
      scope.worst_recall = std::min(scope.worst_recall, point.mass_recall);
    }
    scopes.push_back(std::move(scope));
    begin = end;
  }
  choice.take_means();
  return scopes;
}

/// Rows by head and choice.
std::vector<ResultRow> ChoiceRows::templates(const GroupSelection& group, std::size_t first,
                                             const std::vector<JointChoice>& choices) const {
  std::vector<ResultRow> rows;
  std::vector<std::uint64_t> content = layer_content(reader_, group.layer);
  for (std::size_t h = 0; h < group.heads.size(); ++h) {
    for (const JointChoice& joint : choices) {
      const HeadPoint& point = joint.choice.heads[first + h];
      ResultRow row = layer_row(reader_, stream_.engine(), options_, request_.runs[joint.run], group.layer);
      row.kind = "sweep";
      row.scope = "head";
      row.head = group.heads[h];
      row.kv_head = group.kv_head;
      row.extra["choice"] = joint.kind;
      row.value = point.value;
      row.density = point.density;
      row.mass_recall = point.recall;
      std::vector<std::uint64_t> identity = content;
      identity.insert(identity.end(), {4, std::bit_cast<std::uint64_t>(point.value),
                                       options_.measure == "all", joint.kind == "allocation"});
      row.unit = unit_id(row, identity);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

void ChoiceRows::compute(const GroupSelection& group, const std::vector<JointChoice>& choices, Engine& engine,
                         const LoadedGroup& loaded, std::vector<ResultRow>& rows) const {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    const auto inputs = engine.upload(loaded.group);
    const auto dense = engine.dense_reference(*inputs);
    const std::vector<int> locals = group.locals();
    for (std::size_t n = 0; n < choices.size(); ++n) {
      const MethodRun& run = request_.runs[choices[n].run];
      std::vector<double> knobs;
      for (std::size_t h = 0; h < locals.size(); ++h) knobs.push_back(*rows[h * choices.size() + n].value);
      const auto replays = measure_heads(engine, *inputs, *run.method, run.params, locals, knobs, *dense);
      for (std::size_t h = 0; h < locals.size(); ++h) {
        ResultRow& row = rows[h * choices.size() + n];
        fill_measured(row, replays[h]);
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (ResultRow& row : rows) {
      row.status = "error";
      row.error = error.what();
    }
  }
}

void ChoiceRows::finish(std::size_t first, const std::vector<ResultRow>& rows,
                        std::vector<JointChoice>& choices) {
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const ResultRow row = shell_.emit_result(rows[at], cli::Audience::programs);
    if (row.ok()) choices[at % choices.size()].choice.heads[first + at / choices.size()] = HeadPoint::of(row);
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

void ChoiceRows::print(const std::vector<GroupSelection>& groups, const std::vector<JointChoice>& choices) {
  std::vector<JointChoice> allocations;
  std::copy_if(choices.begin(), choices.end(), std::back_inserter(allocations),
               [](const JointChoice& joint) { return joint.kind == "allocation"; });
  const std::vector<std::size_t> first = first_heads(groups);
  for (std::size_t n = 0; n < groups.size() && !allocations.empty(); ++n)
    finish(first[n], templates(groups[n], first[n], allocations), allocations);
}

void ChoiceRows::measure(const std::vector<GroupSelection>& groups, std::vector<JointChoice>& choices) {
  const std::vector<std::size_t> first = first_heads(groups);
  const std::vector<StreamItem> items = stream_items(reader_, groups);
  const std::vector<JointChoice> asked = choices;  // finish() changes them while other groups are computed
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
             finish(first[n], rows[n], choices);
             rows[n] = {};
           }});
  for (JointChoice& joint : choices) {
    joint.choice.take_means();
    joint.choice.below = static_cast<double>(
        std::count_if(joint.choice.heads.begin(), joint.choice.heads.end(),
                      [&](const HeadPoint& head) { return head.recall < request_.target.value; }));
  }
}

}  // namespace anchor::sweep
