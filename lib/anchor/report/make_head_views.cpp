#include "anchor/report/make_head_views.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/metrics/kept_map.hpp"
#include "anchor/metrics/recall.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "anchor/replay/dump_stream.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {
namespace {

constexpr std::size_t levels = 8;
constexpr std::uint8_t never_kept = 255;  // no level keeps half of the cell

/// How much of each head is shown, so that a page with all of them stays under 3 MB.
struct Detail {
  std::size_t curve_points, stripes;
  std::int64_t tile;  ///< rows of a tile: a power of two, at most 1024 tiles

  Detail(std::int64_t tokens, std::size_t heads) {
    const double bytes = 2.5e6 / static_cast<double>(heads), base64_share = 4.0 / 3;
    curve_points = static_cast<std::size_t>(std::clamp(0.3 * bytes / (8 * base64_share), 32.0, 128.0));
    stripes = static_cast<std::size_t>(std::clamp(0.15 * bytes / 45, 4.0, 24.0));
    const double map =
        bytes - 8 * base64_share * static_cast<double>(curve_points) - 45.0 * static_cast<double>(stripes);
    // Half of side x side cells of two bytes, and a profile of `side` bytes for each level.
    const double side = std::clamp(std::sqrt(map / base64_share) - levels / 2.0, 8.0, 1024.0);
    tile = 16;
    while (static_cast<double>(tokens) / static_cast<double>(tile) > side) tile *= 2;
  }
};

/// Points of the curve, from the least to the most density, closer together where recall is high.
std::vector<double> level_knobs(const Curve& curve) {
  constexpr double parts[levels] = {0, 0.3, 0.55, 0.75, 0.87, 0.94, 0.98, 1};
  std::vector<double> knobs;
  for (const double part : parts) {
    const double target = (1 - part) * curve.mass_recall.front() + part * curve.mass_recall.back();
    knobs.push_back(curve.knob[curve.least(target).value_or(curve.size() - 1)]);
  }
  return knobs;
}

/// The views of one KV group's heads on their way.
class GroupViews {
 public:
  GroupViews(Engine& engine, const Inputs& inputs, const GroupSelection& group, const MethodRun& run,
             const Detail& detail, HeadViews& views, std::span<HeadView> heads)
      : engine_(engine),
        inputs_(inputs),
        group_(group),
        run_(run),
        detail_(detail),
        views_(views),
        heads_(heads) {}

  void fill() {
    const auto dense = engine_.dense_reference(inputs_);
    for (std::size_t h = 0; h < heads_.size(); ++h) describe(h);
    const std::size_t count = heads_[0].knob.size();
    for (std::size_t level = 0; level < count; ++level) replay_level(level, *dense);
    for (std::size_t h = 0; h < heads_.size(); ++h) finish(h);
  }

 private:
  int local(std::size_t h) const { return group_.heads[h] - group_.first_head; }

  /// Attention mass, curve and levels.
  void describe(std::size_t h) {
    const Geometry& g = inputs_.geometry();
    HeadView& head = heads_[h];
    MassMap map = engine_.mass(inputs_, local(h),
                               {.group_rows = g.q_len, .tile_rows = views_.tile, .block_keys = views_.tile});
    head.mass = std::move(map.block_mass);
    head.sink_share = static_cast<double>(map.column_mass[0]) / static_cast<double>(g.q_len);
    head.level.assign(head.mass.size(), never_kept);
    column_mass_.push_back(std::move(map.column_mass));
    lists_.emplace_back(static_cast<std::size_t>(g.kv_len), 0);
    if (run_.method->granularity) {
      const int one[] = {local(h)};
      const KnobCurve curve = knob_curves(engine_, inputs_, *run_.method, run_.params, {}, one)[0];
      head.curve = thin_to(curve.points, detail_.curve_points);
      head.knob = level_knobs(head.curve);
      const auto stripe = std::find_if(head.knob.begin(), head.knob.end(), [&](double knob) {
        return head.curve.mass_recall[head.curve.at(knob)] >= 0.95;
      });
      head.stripe_level =
          static_cast<int>(std::min<std::ptrdiff_t>(stripe - head.knob.begin(), std::ssize(head.knob) - 1));
    } else {
      head.knob = {run_.method->knob.empty() ? 0 : run_.params.real(run_.method->knob)};
    }
  }

  void replay_level(std::size_t level, DenseReference& dense) {
    const Geometry& g = inputs_.geometry();
    PlanRequest request{run_.params, {}};
    if (run_.method->granularity) {
      request.knobs.assign(static_cast<std::size_t>(g.q_heads), heads_[0].knob[level]);
      for (std::size_t h = 0; h < heads_.size(); ++h)
        request.knobs[static_cast<std::size_t>(local(h))] = heads_[h].knob[level];
    }
    std::vector<KeptMap> kept;
    std::vector<PlanStats> stats(heads_.size());
    std::vector<std::vector<double>> rows(heads_.size());
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      Geometry one = g;
      one.q_heads = one.kv_heads = 1;
      kept.emplace_back(one, views_.tile, views_.tile);
    }
    const std::int64_t chunk = run_.method->rows_per_plan == 0 ? g.q_len : run_.method->rows_per_plan;
    for (std::int64_t begin = 0; begin < g.q_len; begin += chunk) {
      check_interrupt();
      const std::int64_t end = std::min(begin + chunk, g.q_len);
      const PlanHandle plan = engine_.plan(*run_.method, request, inputs_, begin, end);
      const SparsePlan host = plan->to_host();
      const std::vector<HeadComparison> compared = dense.compare_heads(*plan, begin);
      for (std::size_t h = 0; h < heads_.size(); ++h) {
        kept[h].add(host, local(h), begin);
        stats[h] += plan_stats(host, local(h));
        const std::vector<double>& shares = compared[static_cast<std::size_t>(local(h))].row_recall;
        rows[h].insert(rows[h].end(), shares.begin(), shares.end());
        if (static_cast<int>(level) == heads_[h].stripe_level) count_lists(host, h);
      }
    }
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      HeadView& head = heads_[h];
      head.density.push_back(stats[h].density());
      head.mass_recall.push_back(recall_stats(rows[h]).mean);
      for (std::int64_t tile = 0; tile < views_.tiles(); ++tile) {
        const std::int64_t first = tile * views_.tile, last = std::min(g.q_len, first + views_.tile);
        double sum = 0;
        for (std::int64_t i = first; i < last; ++i) sum += rows[h][static_cast<std::size_t>(i)];
        head.row_recall.push_back(static_cast<float>(sum / static_cast<double>(last - first)));
      }
      const std::vector<float> share = kept[h].share();
      for (std::size_t cell = 0; cell < share.size(); ++cell) {
        if (head.level[cell] == never_kept && share[cell] >= 0.5f)
          head.level[cell] = static_cast<std::uint8_t>(level);
      }
    }
  }

  void count_lists(const SparsePlan& plan, std::size_t h) {
    for (std::int64_t n = 0; n < plan.groups(); ++n) {
      for (const std::int32_t key : plan.columns[local(h) * plan.groups() + n])
        ++lists_[h][static_cast<std::size_t>(key)];
    }
    list_rows_ = plan.group_rows();
  }

  /// The kept columns of most mass.
  void finish(std::size_t h) {
    const Geometry& g = inputs_.geometry();
    std::vector<std::int64_t> keys;
    for (std::int64_t key = 0; key < g.kv_len; ++key) {
      if (lists_[h][static_cast<std::size_t>(key)] > 0) keys.push_back(key);
    }
    const auto mass = [&](std::int64_t key) { return column_mass_[h][static_cast<std::size_t>(key)]; };
    const auto shown = std::min(keys.size(), detail_.stripes);
    std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(shown), keys.end(),
                      [&](auto a, auto b) { return mass(a) != mass(b) ? mass(a) > mass(b) : a < b; });
    keys.resize(shown);
    for (const std::int64_t key : keys) {
      const std::int64_t first = std::max<std::int64_t>(0, key - g.q_start) / list_rows_;
      const std::int64_t possible = (g.q_len + list_rows_ - 1) / list_rows_ - first;
      heads_[h].stripes.push_back({key, static_cast<double>(mass(key)) / static_cast<double>(g.q_len),
                                   lists_[h][static_cast<std::size_t>(key)] / static_cast<double>(possible),
                                   ""});
    }
  }

  Engine& engine_;
  const Inputs& inputs_;
  const GroupSelection& group_;
  const MethodRun& run_;
  const Detail& detail_;
  HeadViews& views_;
  std::span<HeadView> heads_;
  std::vector<std::vector<float>> column_mass_;  ///< by head
  std::vector<std::vector<int>> lists_;          ///< by head and key: lists that hold it
  std::int64_t list_rows_ = 1;
};

/// The views of one group; what is wrong with its data is thrown.
std::vector<HeadView> group_views(Engine& engine, const DumpReader& reader, const GroupSelection& group,
                                  const MethodRun& run, const Detail& detail, HeadViews& views,
                                  int first_layer) {
  const auto inputs = engine.upload(read_finite_group(reader, group.layer, group.kv_head));
  const Geometry& g = inputs->geometry();
  if (g.q_len != views.q_len || g.kv_len != views.kv_len || g.q_start != views.q_start)
    fail("{}: layer {} has another length than layer {}", reader.path(), group.layer, first_layer);
  std::vector<HeadView> made(group.heads.size());
  GroupViews(engine, *inputs, group, run, detail, views, made).fill();
  return made;
}

/// The tokens of the stripes' keys, as far as they are known.
void name_stripes(HeadView& view, std::span<const std::int32_t> ids,
                  std::span<const std::string> token_texts) {
  for (HeadView::Stripe& stripe : view.stripes) {
    const auto key = static_cast<std::size_t>(stripe.key);
    if (key < ids.size() && static_cast<std::size_t>(ids[key]) < token_texts.size())
      stripe.text = token_texts[static_cast<std::size_t>(ids[key])];
  }
}

}  // namespace

HeadViews make_head_views(Engine& engine, const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          const MethodRun& run, std::span<const std::string> token_texts,
                          const std::function<void(std::size_t, const GroupSelection&)>& progress) {
  std::size_t heads = 0;
  for (const auto& group : groups) heads += group.heads.size();
  const Geometry& shape = reader.layer(groups[0].layer).geometry;
  const Detail detail(shape.kv_len, heads);
  HeadViews views{.path = reader.path(),
                  .model = reader.header().model,
                  .method = run.method->name,
                  .knob = run.method->knob,
                  .params = {},
                  .q_len = shape.q_len,
                  .kv_len = shape.kv_len,
                  .q_start = shape.q_start,
                  .tile = detail.tile,
                  .heads = {}};
  views.params = scalars_json(run.params.values());
  if (run.method->granularity) views.params.erase(run.method->knob);

  const std::vector<std::int32_t> ids = reader.input_ids();
  for (std::size_t n = 0; n < groups.size(); ++n) {
    check_interrupt();
    const GroupSelection& group = groups[n];
    progress(n, group);
    std::vector<HeadView> made;
    std::string error;
    try {
      made = group_views(engine, reader, group, run, detail, views, groups[0].layer);
    } catch (const Error& caught) {
      if (caught.kind() != ErrorKind::data) throw;
      error = caught.what();
      made.resize(group.heads.size());
    }
    for (std::size_t h = 0; h < made.size(); ++h) {
      made[h].layer = group.layer;
      made[h].head = group.heads[h];
      made[h].error = error;
      name_stripes(made[h], ids, token_texts);
      views.heads.push_back(std::move(made[h]));
    }
  }
  return views;
}

}  // namespace anchor
