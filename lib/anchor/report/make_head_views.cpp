#include "anchor/report/make_head_views.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/metrics/kept_map.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "anchor/replay/dump_stream.hpp"
#include "anchor/report/key_stops.hpp"
#include "anchor/report/knob_stops.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {
namespace {

constexpr std::size_t most_marks = 8;      // of a head
constexpr std::size_t sampled_heads = 12;  // whose curves say where the slider's stops lie

/// How much of each head is shown, so that a page with all of them stays under 4 MB.
struct Detail {
  std::size_t stops;
  int stripes;
  std::int64_t row_tiles;
  std::int64_t tile;  ///< of the map: a power of two, at most 1024 tiles

  /// `least`: rows of the engine's smallest cells.
  Detail(std::int64_t tokens, std::size_t heads, bool exact, std::int64_t least) {
    const double text = 3.6e6 / static_cast<double>(heads), bytes = 0.66 * text;  // base64, and names
    stops = exact ? static_cast<std::size_t>(std::clamp(text / 280, 24.0, 96.0)) : 1;
    stripes = static_cast<int>(std::clamp(text / 1600, 3.0, 24.0));
    row_tiles = static_cast<std::int64_t>(std::clamp(text / 415, 16.0, 128.0));
    // Half of side x side cells of two bytes.
    const double map =
        bytes - static_cast<double>(stops) * (8 + 2 * static_cast<double>(row_tiles)) - 60.0 * stripes;
    const double side = std::clamp(std::sqrt(std::max(0., map)), 8.0, 1024.0);
    tile = std::max<std::int64_t>(16, least);
    while (static_cast<double>(tokens) / static_cast<double>(tile) > side) tile *= 2;
  }
};

/// Rows that share a list, from the mass that the method's critical values need.
std::int64_t list_rows(const MassGranularity& grain) { return std::max(grain.group_rows, grain.tile_rows); }

/// Rows of a tile of the chart: about q_len / tiles, and a multiple of the lists' rows, or a part of them.
std::int64_t chart_rows(std::int64_t q_len, std::int64_t lists, std::int64_t tiles, std::int64_t cell) {
  const std::int64_t least = std::max((q_len + tiles - 1) / tiles, cell),
                     unit = std::max<std::int64_t>(cell, 16);
  if (lists >= q_len) return (least + unit - 1) / unit * unit;  // one list
  if (least >= lists) return (least + lists - 1) / lists * lists;
  std::int64_t parts = lists / least;
  while (lists % parts != 0) --parts;
  return lists / parts;
}

/// The views of one KV group's heads on their way.
class GroupViews {
 public:
  GroupViews(Engine& engine, const Inputs& inputs, const GroupSelection& group, const MethodRun& run,
             const HeadViews& views, std::span<HeadView> heads)
      : engine_(engine), inputs_(inputs), group_(group), run_(run), views_(views), heads_(heads) {}

  void fill() {
    for (std::size_t h = 0; h < heads_.size(); ++h) draw_mass(h);
    if (run_.method->granularity) {
      follow_knob();
    } else {
      run_plan();
    }
  }

 private:
  const Geometry& geometry() const { return inputs_.geometry(); }
  Geometry one_head() const {
    Geometry one = geometry();
    one.q_heads = one.kv_heads = 1;
    return one;
  }
  int local(std::size_t h) const { return group_.heads[h] - group_.first_head; }
  std::size_t row_tiles() const { return static_cast<std::size_t>(views_.row_tiles()); }

  /// Where the head's attention lies.
  void draw_mass(std::size_t h) {
    const Geometry& g = geometry();
    HeadView& head = heads_[h];
    const std::int64_t tile = views_.tile, whole = (g.q_len + tile - 1) / tile * tile;
    const MassMap map =
        engine_.mass(inputs_, local(h), {.group_rows = whole, .tile_rows = tile, .block_keys = tile});
    head.mass = map.block_mass;
    head.sink_share = static_cast<double>(map.column_mass[0]) / static_cast<double>(g.q_len);
    column_mass_.push_back(map.column_mass);
  }

  /// The plan at a knob of all heads, which may share tiles: to the heads that stop there.
  void add_plan_at(double knob, const std::vector<std::vector<double>>& stops,
                   std::vector<KeyStops>& keys) const {
    const PlanRequest request{run_.params,
                              std::vector<double>(static_cast<std::size_t>(geometry().q_heads), knob)};
    const SparsePlan plan = engine_.plan(*run_.method, request, inputs_, 0, geometry().q_len)->to_host();
    if (plan.window || plan.group_rows() != keys[0].list_rows())
      fail("{}: its plans are not lists of {} rows, as its curves say", run_.method->name,
           keys[0].list_rows());
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      const auto stop = std::find(stops[h].begin(), stops[h].end(), knob);
      if (stop != stops[h].end())
        keys[h].add_plan(plan, local(h), static_cast<std::uint8_t>(stop - stops[h].begin()));
    }
  }

  /// Every stop of every head.
  void follow_knob() {
    const Geometry& g = geometry();
    const MassGranularity grain = run_.method->granularity(run_.params, g);
    std::vector<std::vector<double>> stops;
    std::vector<KeyStops> keys;
    for (const HeadView& head : heads_) {
      stops.push_back(views_.stops_of(head));
      keys.emplace_back(one_head(), list_rows(grain));
    }
    add_plan_at(stops[0][0], stops, keys);
    std::vector<MassMap> masses;
    bool known = true;
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      check_interrupt();
      masses.push_back(engine_.mass(inputs_, local(h), grain));
      const std::optional<CriticalItems> items =
          engine_.critical(*run_.method, run_.params, inputs_, local(h), masses.back());
      known = known && items && (!items->places.empty() || items->knob.empty());
      if (known) {
        keys[h].add_entries(*items, stops[h]);
        heads_[h].curve = thin(exact_curve(*items));
      } else {
        const int one[] = {local(h)};
        heads_[h].curve = thin(knob_curves(engine_, inputs_, *run_.method, run_.params, {}, one)[0].points);
      }
    }
    if (!known) {
      std::set<double> knobs;
      for (const std::vector<double>& own : stops) knobs.insert(own.begin(), own.end());
      for (const double knob : knobs) {
        check_interrupt();
        add_plan_at(knob, stops, keys);
      }
    }
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      if (views_.row_tile < list_rows(grain))  // lists are longer than the chart's tiles
        masses[h] = engine_.mass(inputs_, local(h), {.group_rows = views_.row_tile});
      describe(h, keys[h], masses[h], stops[h].size());
    }
  }

  void describe(std::size_t h, const KeyStops& keys, const MassMap& mass, std::size_t stops) {
    const Geometry& g = geometry();
    HeadView& head = heads_[h];
    const std::vector<std::int64_t> pairs = pairs_at_stops(keys, g.q_len, stops);
    const std::vector<double> kept = mass_at_stops(keys, mass, views_.row_tile, stops);
    for (std::size_t stop = 0; stop < stops; ++stop) {
      double sum = 0;
      for (std::size_t tile = 0; tile < row_tiles(); ++tile) {
        const double part = kept[stop * row_tiles() + tile];
        const auto first = static_cast<std::int64_t>(tile) * views_.row_tile;
        sum += part;
        head.row_recall.push_back(
            static_cast<float>(part / static_cast<double>(std::min(g.q_len - first, views_.row_tile))));
      }
      head.density.push_back(static_cast<double>(pairs[stop]) / static_cast<double>(g.causal_pairs()));
      head.mass_recall.push_back(sum / static_cast<double>(g.q_len));
    }
    head.first = half_kept(keys, one_head(), views_.tile, stops);
    if (keys.has_stripes()) list_stripes(h, keys, stops);
  }

  /// The keys that are among the kept ones of most mass at some stop.
  void list_stripes(std::size_t h, const KeyStops& keys, std::size_t stops) {
    const auto length = static_cast<std::size_t>(geometry().kv_len);
    std::vector<int> possible(length, 0);
    std::vector<std::uint8_t> first(length, KeyStops::never);
    for (std::int64_t n = 0; n < keys.lists(); ++n) {
      for (std::size_t key = 0; key < length; ++key) {
        const std::uint8_t stop = keys.list(n)[key];
        if (stop == 0 || stop == KeyStops::never) continue;  // stop 0: kept without a choice
        ++possible[key];
        first[key] = std::min(first[key], stop);
      }
    }
    const auto heavier = [&](std::size_t a, std::size_t b) {
      return column_mass_[h][a] != column_mass_[h][b] ? column_mass_[h][a] > column_mass_[h][b] : a < b;
    };
    std::vector<std::vector<std::size_t>> joining(stops);
    for (std::size_t key = 0; key < length; ++key)
      if (first[key] != KeyStops::never) joining[first[key]].push_back(key);
    std::set<std::size_t> shown;
    std::vector<std::size_t> best;
    for (const std::vector<std::size_t>& more : joining) {
      best.insert(best.end(), more.begin(), more.end());
      std::sort(best.begin(), best.end(), heavier);
      best.resize(std::min(best.size(), static_cast<std::size_t>(views_.stripes_shown)));
      shown.insert(best.begin(), best.end());
    }
    best.assign(shown.begin(), shown.end());
    std::sort(best.begin(), best.end(), heavier);
    for (const std::size_t key : best) {
      std::vector<int> from(stops, 0);
      for (std::int64_t n = 0; n < keys.lists(); ++n)
        if (const std::uint8_t stop = keys.list(n)[key]; stop != 0 && stop != KeyStops::never) ++from[stop];
      HeadView::Stripe stripe{
          static_cast<std::int64_t>(key),
          static_cast<double>(column_mass_[h][key]) / static_cast<double>(geometry().q_len),
          possible[key],
          {},
          ""};
      int count = 0;
      for (std::size_t stop = 0; stop < stops; ++stop)
        if (from[stop] > 0) stripe.lists.emplace_back(static_cast<int>(stop), count += from[stop]);
      heads_[h].stripes.push_back(std::move(stripe));
    }
  }

  /// The one plan of a method without an exact curve.
  void run_plan() {
    const Geometry& g = geometry();
    const auto dense = engine_.dense_reference(inputs_);
    std::vector<KeptMap> kept(heads_.size(), KeptMap(one_head(), views_.tile, views_.tile));
    std::vector<PlanStats> stats(heads_.size());
    std::vector<std::vector<double>> rows(heads_.size());
    const std::int64_t chunk = run_.method->rows_per_plan == 0 ? g.q_len : run_.method->rows_per_plan;
    for (std::int64_t begin = 0; begin < g.q_len; begin += chunk) {
      check_interrupt();
      const PlanHandle plan =
          engine_.plan(*run_.method, {run_.params, {}}, inputs_, begin, std::min(begin + chunk, g.q_len));
      const SparsePlan host = plan->to_host();
      const std::vector<HeadComparison> compared = dense->compare_heads(*plan, begin);
      for (std::size_t h = 0; h < heads_.size(); ++h) {
        kept[h].add(host, local(h), begin);
        stats[h] += plan_stats(host, local(h));
        const std::vector<double>& shares = compared[static_cast<std::size_t>(local(h))].row_recall;
        rows[h].insert(rows[h].end(), shares.begin(), shares.end());
      }
    }
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      HeadView& head = heads_[h];
      head.density = {stats[h].density()};
      double all = 0;
      for (std::int64_t first = 0; first < g.q_len; first += views_.row_tile) {
        const std::int64_t last = std::min(g.q_len, first + views_.row_tile);
        double sum = 0;
        for (std::int64_t i = first; i < last; ++i) sum += rows[h][static_cast<std::size_t>(i)];
        head.row_recall.push_back(static_cast<float>(sum / static_cast<double>(last - first)));
        all += sum;
      }
      head.mass_recall = {all / static_cast<double>(g.q_len)};
      for (const float share : kept[h].share()) head.first.push_back(share >= 0.5f ? 0 : never_kept);
    }
  }

  Engine& engine_;
  const Inputs& inputs_;
  const GroupSelection& group_;
  const MethodRun& run_;
  const HeadViews& views_;
  std::span<HeadView> heads_;
  std::vector<std::vector<float>> column_mass_;  ///< by head, of all rows
};

/// The tokens of the stripes' keys, as far as they are known.
void name_stripes(HeadView& view, std::span<const std::int32_t> ids,
                  std::span<const std::string> token_texts) {
  for (HeadView::Stripe& stripe : view.stripes) {
    const auto key = static_cast<std::size_t>(stripe.key);
    if (key < ids.size() && static_cast<std::size_t>(ids[key]) < token_texts.size())
      stripe.text = token_texts[static_cast<std::size_t>(ids[key])];
  }
}

std::unique_ptr<Inputs> upload(Engine& engine, const DumpReader& reader, const GroupSelection& group) {
  return engine.upload(read_finite_group(reader, group.layer, group.kv_head));
}

/// The mean curve of a few heads, spread over the dump. A group whose data are bad is left out.
Curve sampled_mean(Engine& engine, const DumpReader& reader, const std::vector<GroupSelection>& groups,
                   const MethodRun& run) {
  std::vector<std::pair<std::size_t, int>> heads;  // group, index in it
  for (std::size_t n = 0; n < groups.size(); ++n)
    for (const int head : groups[n].locals()) heads.emplace_back(n, head);
  std::vector<Curve> curves;
  const std::size_t taken = std::min(sampled_heads, heads.size());
  for (std::size_t n = 0; n < taken; ++n) {
    check_interrupt();
    const auto& [group, head] = heads[n * heads.size() / taken];
    try {
      const auto inputs = upload(engine, reader, groups[group]);
      const int one[] = {head};
      curves.push_back(thin(knob_curves(engine, *inputs, *run.method, run.params, {}, one)[0].points));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
    }
  }
  return curves.empty() ? Curve{} : mean_curve(curves);
}

/// Knobs that all heads have in common.
std::vector<double> common_knobs(const std::vector<GroupSelection>& groups, const KnobMarks& marks) {
  std::map<double, std::size_t> count;
  std::size_t heads = 0;
  for (const GroupSelection& group : groups) {
    for (const int head : group.heads) {
      ++heads;
      std::set<double> own;
      if (const auto found = marks.of_heads.find({group.layer, head}); found != marks.of_heads.end())
        for (const KnobMark& mark : found->second) own.insert(mark.knob);
      for (const double knob : own) ++count[knob];
    }
  }
  std::vector<double> common;
  for (const auto& [knob, times] : count)
    if (times == heads) common.push_back(knob);
  return common;
}

}  // namespace

KnobMark KnobMarks::mark(double knob, const std::string& words) {
  const auto found = std::find(why.begin(), why.end(), words);
  const auto place = static_cast<int>(found - why.begin());
  if (found == why.end()) why.push_back(words);
  return {knob, place};
}

void KnobMarks::add(int layer, int head, double knob, const std::string& words) {
  std::vector<KnobMark>& own = of_heads[{layer, head}];
  const bool there =
      std::any_of(own.begin(), own.end(), [&](const KnobMark& one) { return one.knob == knob; });
  if (!there && own.size() < most_marks) own.push_back(mark(knob, words));
}

void KnobMarks::add_for_all(double knob, const std::string& words) {
  if (of_all.size() < most_marks) of_all.push_back(mark(knob, words));
}

HeadViews make_head_views(Engine& engine, const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          const MethodRun& run, KnobMarks marks, const std::string& otherwise,
                          std::span<const std::string> token_texts,
                          const std::function<void(std::size_t, const GroupSelection&)>& progress) {
  const Method& method = *run.method;
  const bool exact = method.granularity != nullptr;
  std::size_t heads = 0;
  for (const auto& group : groups) {
    heads += group.heads.size();
    for (const int head : group.heads)
      if (exact && !marks.of_heads.contains({group.layer, head}))
        marks.add(group.layer, head, run.params.real(method.knob), otherwise);
  }
  const Geometry& shape = reader.layer(groups[0].layer).geometry;
  const Detail detail(shape.kv_len, heads, exact, engine.least_mass_rows());
  HeadViews views{.path = reader.path(),
                  .model = reader.header().model,
                  .method = method.name,
                  .knob = method.knob,
                  .params = scalars_json(run.params.values()),
                  .q_len = shape.q_len,
                  .kv_len = shape.kv_len,
                  .q_start = shape.q_start,
                  .tile = detail.tile,
                  .descending = method.knob_descends,
                  .stops = {},
                  .start = {},
                  .why = marks.why,
                  .stripes_shown = detail.stripes,
                  .heads = {}};
  const std::int64_t lists = exact ? list_rows(method.granularity(run.params, shape)) : 1;
  views.row_tile = chart_rows(shape.q_len, lists, detail.row_tiles, engine.least_mass_rows());
  if (exact) {
    views.params.erase(method.knob);
    const auto spec = std::find_if(method.params.begin(), method.params.end(),
                                   [&](const ParamSpec& param) { return param.name == method.knob; });
    std::vector<double> common = common_knobs(groups, marks);
    const KnobMark& first = marks.of_heads[{groups[0].layer, groups[0].heads[0]}][0];
    if (std::find(common.begin(), common.end(), first.knob) != common.end()) {
      views.start = first;
    } else if (!marks.of_all.empty()) {
      views.start = marks.of_all[0];
    }
    for (const KnobMark& mark : marks.of_all) common.push_back(mark.knob);
    const Curve mean = sampled_mean(engine, reader, groups, run);
    views.stops = mean.size() > 0
                      ? knob_stops(*spec, mean, common, detail.stops)
                      : merged_stops({spec->minimum, spec->maximum}, common, method.knob_descends);
  }

  const std::vector<std::int32_t> ids = reader.input_ids();
  for (std::size_t n = 0; n < groups.size(); ++n) {
    check_interrupt();
    const GroupSelection& group = groups[n];
    progress(n, group);
    std::vector<HeadView> made(group.heads.size());
    std::string error;
    for (std::size_t h = 0; h < made.size(); ++h)
      if (exact) made[h].marks = marks.of_heads[{group.layer, group.heads[h]}];
    try {
      const auto inputs = upload(engine, reader, group);
      const Geometry& g = inputs->geometry();
      if (g.q_len != views.q_len || g.kv_len != views.kv_len || g.q_start != views.q_start)
        fail("{}: layer {} has another length than layer {}", reader.path(), group.layer, groups[0].layer);
      GroupViews(engine, *inputs, group, run, views, made).fill();
    } catch (const Error& caught) {
      if (caught.kind() != ErrorKind::data) throw;
      error = caught.what();
      made.assign(group.heads.size(), {});
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
