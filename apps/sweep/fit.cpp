#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <optional>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/experiment/grid.hpp"
#include "anchor/experiment/knob_curve.hpp"
#include "anchor/experiment/thresholds.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "sweep/sweep.hpp"

namespace anchor::sweep {
namespace {

using cli::GroupSelection;

/// What the heads of one dump reach with the fitted knobs.
struct Tally {
  std::string path;
  double heads = 0, reach = 0, density = 0, recall = 0;
  double worst = std::numeric_limits<double>::infinity();
  std::string worst_head;

  void add(const Json& row, double target) {
    const double reached = number_from_json(row["mass_recall"]).value_or(0);
    ++heads;
    reach += reached >= target;
    density += number_from_json(row["density"]).value_or(0);
    recall += reached;
    if (reached >= worst) return;
    worst = reached;
    worst_head = fmt::format("{}:{}", row["dump"]["layer"].dump(), row["dump"]["head"].dump());
  }
};

/// Fits every head's knob on several dumps and looks what it keeps on others. A KV group is done at a time,
/// on all dumps. The fitted knob is the least that reaches the target on the mean of the fitted dumps'
/// curves, or with
/// --worst on each of them; then --margin is added.
class Fit {
 public:
  Fit(const Options& options, const Request& request)
      : options_(options), request_(request), run_(request.runs[0]) {
    for (const std::string& path : split_list(options.fit, "--fit")) open(path);
    fitted_ = dumps_.size();
    if (!options.check.empty()) {
      for (const std::string& path : split_list(options.check, "--check")) open(path);
    }
    groups_ = cli::select_groups(*dumps_[0], options.dump);
    for (const auto& dump : dumps_) require_same_heads(*dump);
  }
  int run();

 private:
  void open(const std::string& path) {
    dumps_.emplace_back(new DumpReader(cli::open_dump(path, options_.dump)));
    tallies_.push_back({.path = path, .worst_head = {}});
  }
  void require_same_heads(const DumpReader& dump) const;
  std::vector<KnobCurve> curves_of(const DumpReader& dump, const GroupSelection& group);
  std::vector<std::vector<ResultRow>> templates(const GroupSelection& group) const;
  void compute(const GroupSelection& group, std::vector<std::vector<ResultRow>>& rows);
  double fit(const std::vector<KnobCurve>& curves) const;
  void write_thresholds(const std::map<int, Thresholds::Layer>& layers) const;
  void summarize() const;

  const Options& options_;
  const Request& request_;
  const cli::MethodRun& run_;
  std::vector<std::unique_ptr<DumpReader>> dumps_;  ///< the fitted ones, then the checked ones
  std::vector<Tally> tallies_;                      ///< one per dump
  std::size_t fitted_ = 0;
  std::vector<GroupSelection> groups_;
  std::unique_ptr<Engine> engine_;
};

void Fit::require_same_heads(const DumpReader& dump) const {
  for (const GroupSelection& group : groups_) {
    const Geometry& mine = dumps_[0]->layer(group.layer).geometry;
    const Geometry& other = dump.layer(group.layer).geometry;
    if (mine.q_heads != other.q_heads || mine.kv_heads != other.kv_heads) {
      fail("{}: layer {} has {}/{} heads, {} has {}/{}: they are not dumps of one model", dump.path(),
           group.layer, other.q_heads, other.kv_heads, dumps_[0]->path(), mine.q_heads, mine.kv_heads);
    }
  }
}

std::vector<KnobCurve> Fit::curves_of(const DumpReader& dump, const GroupSelection& group) {
  check_interrupt();
  const KvGroup data = dump.read_group(group.layer, group.kv_head);
  if (const std::string problem = first_non_finite(data); !problem.empty())
    fail("{}: {}", dump.path(), problem);
  const auto inputs = engine_->upload(data);
  std::vector<int> heads;
  for (const int head : group.heads) heads.push_back(head - group.first_head);
  return knob_curves(*engine_, *inputs, *run_.method, run_.params, request_.grid, heads);
}

double Fit::fit(const std::vector<KnobCurve>& curves) const {
  const auto knob = [&](const KnobCurve& curve) {
    return curve.points.knob[curve.least(request_.target.value).value_or(curve.densest())];
  };
  double value = 0;
  if (!options_.worst) {
    value = knob(mean_curve(curves));
  } else {  // every dump's own choice keeps the target there: the one that keeps most keeps it everywhere
    const auto reach = [&](const KnobCurve& curve) {
      const double x = knob(curve);
      return std::pair(curves[0].points.density[curves[0].at(x)], curve.points.descending ? -x : x);
    };
    value = knob(*std::max_element(curves.begin(), curves.end(),
                                   [&](const auto& a, const auto& b) { return reach(a) < reach(b); }));
  }
  // planners compare in float: a value that float cannot hold would be another one in the plan
  return static_cast<double>(static_cast<float>(value + options_.margin));
}

/// Rows by head and dump, before anything is computed. Their values are those of the dump they name.
std::vector<std::vector<ResultRow>> Fit::templates(const GroupSelection& group) const {
  std::vector<std::uint64_t> content;
  for (const auto& dump : dumps_) {
    for (const std::uint64_t hash : cli::layer_content(*dump, group.layer)) content.push_back(hash);
  }
  for (const double knob : request_.grid) content.push_back(std::bit_cast<std::uint64_t>(knob));
  content.push_back(std::bit_cast<std::uint64_t>(options_.margin));
  content.push_back(options_.worst);
  std::vector<std::vector<ResultRow>> rows;
  for (const int head : group.heads) {
    rows.emplace_back();
    for (std::size_t n = 0; n < dumps_.size(); ++n) {
      ResultRow row = cli::head_row(*dumps_[n], group.layer, head);
      row.kind = "sweep";
      row.method = run_.method->name;
      row.params = fixed_params(run_);
      row.target = request_.target;
      row.device = engine_->device();
      row.path = engine_->path();
      row.extra["role"] = std::string(n < fitted_ ? "fit" : "check");
      row.env = host_environment();
      row.argv = options_.argv;
      content.push_back(n);
      row.unit = unit_id(row, content);
      content.pop_back();
      rows.back().push_back(std::move(row));
    }
  }
  return rows;
}

void Fit::compute(const GroupSelection& group, std::vector<std::vector<ResultRow>>& rows) {
  try {
    std::vector<std::vector<KnobCurve>> by_dump;
    for (std::size_t n = 0; n < fitted_; ++n) by_dump.push_back(curves_of(*dumps_[n], group));
    std::vector<double> values;
    const auto record = [&](std::size_t head, std::size_t dump, const KnobCurve& curve) {
      const std::size_t at = curve.at(values[head]);
      rows[head][dump].value = values[head];
      rows[head][dump].density = curve.points.density[at];
      rows[head][dump].mass_recall = curve.points.mass_recall[at];
    };
    for (std::size_t head = 0; head < rows.size(); ++head) {
      std::vector<KnobCurve> curves;
      for (auto& dump : by_dump) curves.push_back(std::move(dump[head]));
      values.push_back(fit(curves));
      for (std::size_t n = 0; n < fitted_; ++n) record(head, n, curves[n]);
    }
    for (std::size_t n = fitted_; n < dumps_.size(); ++n) {
      const std::vector<KnobCurve> curves = curves_of(*dumps_[n], group);
      for (std::size_t head = 0; head < rows.size(); ++head) record(head, n, curves[head]);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    for (auto& list : rows) {
      for (ResultRow& row : list) {
        row.status = "error";
        row.error = error.what();
      }
    }
  }
}

void Fit::write_thresholds(const std::map<int, Thresholds::Layer>& layers) const {
  Thresholds made;
  made.method = run_.method->name;
  made.knob = run_.method->knob;
  made.params = fixed_params(run_);
  made.model = dumps_[0]->header().model;
  made.target = request_.target;
  for (std::size_t n = 0; n < fitted_; ++n) made.calibrated_on.push_back(dumps_[n]->path());
  for (const auto& [number, layer] : layers) made.layers.push_back(layer);
  OutputFile file(options_.thresholds_out);
  file.write(thresholds_text(made));
  file.commit();
}

void Fit::summarize() const {
  std::vector<Json> lines;
  for (std::size_t n = 0; n < tallies_.size(); ++n) {
    const Tally& tally = tallies_[n];
    lines.push_back({{"dump", tally.path.substr(tally.path.rfind('/') + 1)},
                     {"role", n < fitted_ ? "fit" : "check"},
                     {"density", tally.density / tally.heads},
                     {"mass_recall", tally.recall / tally.heads},
                     {"heads at target", fmt::format("{} of {}", tally.reach, tally.heads)},
                     {"worst head", fmt::format("{:.3f} ({})", tally.worst, tally.worst_head)}});
  }
  const std::vector<Column> columns{{"role"},       {"density", 4}, {"mass_recall", 4}, {"heads at target"},
                                    {"worst head"}, {"dump"}};
  fmt::print("\n{} per head for mass_recall {}, fitted on {}{}:\n\n{}", run_.method->knob,
             format_number(request_.target.value), options_.worst ? "each dump" : "the mean of the dumps",
             options_.margin == 0 ? "" : fmt::format(", plus {}", format_number(options_.margin)),
             markdown_table(lines, columns, 0));
  std::fflush(stdout);
}

int Fit::run() {
  engine_ = cli::open_engine(options_.common);
  const std::vector<Column> eye{{"dump.layer", -1, "layer"},
                                {"dump.head", -1, "head"},
                                {"role"},
                                {"value", 4, run_.method->knob},
                                {"density", 4},
                                {"mass_recall", 4},
                                {"dump.path", -1, "dump"}};
  const std::vector<Column> all{{"dump.path"},   {"role"},   {"dump.layer"},   {"dump.head"}, {"status"},
                                {"error"},       {"method"}, {"target.value"}, {"value"},     {"density"},
                                {"mass_recall"}, {"path"},   {"unit"}};
  cli::Output output(options_.common, eye, all);
  std::optional<OutputFile> probe;  // an unwritable place is found before the work, not after it
  if (!options_.thresholds_out.empty()) probe.emplace(options_.thresholds_out);
  std::map<int, Thresholds::Layer> layers;
  double below = 0, failed = 0;
  std::string first_error;
  cli::Progress progress("fit: KV group", static_cast<std::int64_t>(groups_.size()), options_.common.quiet);
  try {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const GroupSelection& group = groups_[g];
      progress.update(static_cast<std::int64_t>(g), fmt::format("layer {}", group.layer));
      auto rows = templates(group);
      const bool finished = std::all_of(rows.begin(), rows.end(), [&](const auto& list) {
        return std::all_of(list.begin(), list.end(),
                           [&](const ResultRow& row) { return output.finished(row.unit) != nullptr; });
      });
      if (!finished) compute(group, rows);
      for (auto& list : rows) {
        double density = 0, recall = 0, value = 0, least = 1;
        bool ok = true;
        for (std::size_t n = 0; n < list.size(); ++n) {
          const Json* kept = output.finished(list[n].unit);
          const Json json = kept != nullptr ? *kept : to_json(list[n]);
          output.row(json, cli::Audience::everyone, kept != nullptr);
          if (json["status"] != "ok") {
            ok = false;
            if (first_error.empty()) first_error = json["error"].get<std::string>();
            continue;
          }
          tallies_[n].add(json, request_.target.value);
          if (n >= fitted_) continue;
          value = number_from_json(json["value"]).value_or(0);
          density += number_from_json(json["density"]).value_or(0) / static_cast<double>(fitted_);
          const double reached = number_from_json(json["mass_recall"]).value_or(0);
          recall += reached / static_cast<double>(fitted_);
          least = std::min(least, reached);
        }
        if (!ok) {
          ++failed;
          options_.common.note(fmt::format("layer {} head {}: {}", group.layer, *list[0].head, first_error));
          continue;
        }
        below += (options_.worst ? least : recall) < request_.target.value;
        Thresholds::Layer& layer = layers[group.layer];
        layer.layer = group.layer;
        layer.heads.push_back(*list[0].head);
        layer.value.push_back(value);
        layer.density.push_back(density);
        layer.mass_recall.push_back(recall);
      }
    }
  } catch (const Error& error) {
    progress.clear();
    if (error.kind() == ErrorKind::interrupted) output.interrupt();
    throw;
  }
  progress.clear();
  if (layers.empty()) {
    output.interrupt();
    fail("{}", first_error);
  }
  output.finish();
  probe.reset();
  if (!options_.thresholds_out.empty() && failed == 0) write_thresholds(layers);
  if (output.markdown()) summarize();
  return failed > 0 ? 3 : below > 0 ? 4 : 0;
}

}  // namespace

int run_fit(const Options& options, const Request& request) { return Fit(options, request).run(); }

}  // namespace anchor::sweep
