#include "anchor/tuning/fit.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/tuning/bounded_error.hpp"
#include "anchor/tuning/error_front.hpp"
#include "anchor/tuning/head_sweep.hpp"

namespace anchor {

HeadAt FittedHead::at(std::size_t checked) const {
  if (measured.empty()) return kept[checked];
  HeadAt found = HeadAt::of(setting.knob, measured[checked]);
  if (kept.empty()) return found;
  found.density = kept[checked].density;
  found.mass_recall = kept[checked].mass_recall;
  return found;
}

/// What is known of one head before its settings are.
struct Fit::HeadWork {
  std::vector<VariantCurves> curves;              ///< by variant: each head reaches its target
  std::vector<std::optional<ErrorCurve>> errors;  ///< or by variant, then dump: an allocation
  ErrorFront front;                               ///< of the error curves
};

/// A KV group on its way through the dumps, each of which may be worked on at the same time.
struct Fit::GroupWork {
  bool wanted = false;
  std::vector<HeadWork> heads;
  FittedGroup result;
};

/// Some KV groups in a row: their curves on all dumps, from these the settings, then the plans on all dumps.
class Fit::Batch {
 public:
  Batch(const Fit& fit, const Steps& steps, std::size_t first, std::size_t count)
      : fit_(fit), request_(fit.request_), steps_(steps), first_(first), works_(count) {
    for (std::size_t g = first; g < first + count; ++g)
      for (const DumpReader* dump : fit.dumps_) items_.push_back({dump, fit.groups_[g]});
  }

  void run() {
    if (allocates()) ask_all();
    search();
    if (!measures()) return;
    if (allocates()) allocate();
    run_plans();
  }

 private:
  bool allocates() const { return request_.allocate.has_value(); }
  bool measures() const { return request_.measure || allocates(); }
  std::size_t dumps() const { return fit_.dumps_.size(); }
  GroupWork& work_of(std::size_t item) { return works_[item / dumps()]; }
  bool last_dump(std::size_t item) const { return item % dumps() + 1 == dumps(); }
  /// Does any set fit the dump?
  bool fitted(std::size_t dump) const {
    return std::ranges::any_of(fit_.sets_, [&](const FitSet& set) { return set.fits(dump); });
  }

  void ask(std::size_t group);
  void ask_all();
  void prepare(std::size_t group);
  bool goes_on(const GroupWork& work);
  void search();
  void run_plans();
  void finish(GroupWork& work);
  template <class Step>
  void guard(GroupWork& work, const LoadedGroup& loaded, const Step& step);
  void add_curves(const GroupSelection& selection, Engine& engine, const Inputs& inputs, std::size_t dump,
                  GroupWork& work) const;
  void add_plans(const GroupSelection& selection, Engine& engine, const Inputs& inputs, std::size_t dump,
                 GroupWork& work) const;
  void settle(GroupWork& work) const;
  void make_fronts(GroupWork& work) const;
  void allocate();
  std::string what(const char* verb) const;

  const Fit& fit_;
  const FitRequest& request_;
  const Steps& steps_;
  std::size_t first_;
  std::vector<StreamItem> items_;  ///< the dumps of a group one after the other
  std::vector<GroupWork> works_;
  std::mutex error_mutex_;  ///< the dumps of a group may fail at the same time
};

void Fit::Batch::ask(std::size_t group) {
  GroupWork& work = works_[group];
  work.result.index = first_ + group;
  work.wanted = !steps_.wanted || steps_.wanted(first_ + group);
}

/// An allocation needs the curves of all groups, or none.
void Fit::Batch::ask_all() {
  for (std::size_t g = 0; g < works_.size(); ++g) ask(g);
  if (std::ranges::none_of(works_, [](const GroupWork& work) { return work.wanted; })) return;
  for (std::size_t g = 0; g < works_.size(); ++g) prepare(g);
}

/// Makes room for what is found on every dump.
void Fit::Batch::prepare(std::size_t group) {
  const std::size_t variants = fit_.variants_.size();
  works_[group].heads.resize(fit_.groups_[first_ + group].heads.size());
  for (HeadWork& head : works_[group].heads) {
    if (allocates()) {
      head.errors.resize(variants * dumps());
    } else {
      head.curves.assign(variants, {std::vector<TextCurve>(dumps())});
    }
  }
}

/// Is the group to be read, and has not failed?
bool Fit::Batch::goes_on(const GroupWork& work) {
  const std::lock_guard lock(error_mutex_);
  return work.wanted && work.result.error.empty();
}

std::string Fit::Batch::what(const char* verb) const {
  const std::size_t last = first_ + works_.size() - 1;
  const bool one_layer = measures() && fit_.groups_[last].layer == fit_.groups_[first_].layer;
  return fmt::format("{}{}: KV group", verb,
                     one_layer ? fmt::format(" layer {}", fit_.groups_[first_].layer) : "");
}

/// Does a step with a loaded group; a data error becomes the group's.
template <class Step>
void Fit::Batch::guard(GroupWork& work, const LoadedGroup& loaded, const Step& step) {
  try {
    if (!loaded.error.empty()) fail("{}", loaded.error);
    step();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    const std::lock_guard lock(error_mutex_);
    work.result.error = error.what();
  }
}

/// Reads the dumps for the curves, and settles each group after its last dump.
void Fit::Batch::search() {
  const auto wanted = [&](std::size_t n) {
    if (allocates()) return !work_of(n).heads.empty() && fitted(n % dumps());
    if (n % dumps() == 0) {
      ask(n / dumps());
      if (work_of(n).wanted) prepare(n / dumps());
    }
    return work_of(n).wanted;
  };
  const auto compute = [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
    guard(work_of(n), loaded, [&] {
      const auto inputs = engine.upload(loaded.group);
      add_curves(items_[n].group, engine, *inputs, n % dumps(), work_of(n));
    });
  };
  const auto done = [&](std::size_t n) {
    if (!last_dump(n)) return;
    GroupWork& work = work_of(n);
    if (work.result.error.empty() && !work.heads.empty()) allocates() ? make_fronts(work) : settle(work);
    if (!allocates()) work.heads.clear();
    if (!measures()) finish(work);
  };
  fit_.stream_.run(what("fit"), items_, {.wanted = wanted, .compute = compute, .finish = done});
}

/// Reads the dumps once more, for the plans at the settings.
void Fit::Batch::run_plans() {
  const auto wanted = [&](std::size_t n) { return goes_on(work_of(n)); };
  const auto compute = [&](std::size_t n, Engine& engine, const LoadedGroup& loaded) {
    guard(work_of(n), loaded, [&] {
      const auto inputs = engine.upload(loaded.group);
      add_plans(items_[n].group, engine, *inputs, n % dumps(), work_of(n));
    });
  };
  const auto done = [&](std::size_t n) {
    if (last_dump(n)) finish(work_of(n));
  };
  fit_.stream_.run(what("measure"), items_, {.wanted = wanted, .compute = compute, .finish = done});
}

void Fit::Batch::finish(GroupWork& work) {
  if (!work.result.error.empty() || !work.wanted) work.result.fits.clear();
  steps_.finish(work.result);
  work = {};
}

void Fit::Batch::add_curves(const GroupSelection& selection, Engine& engine, const Inputs& inputs,
                            std::size_t dump, GroupWork& work) const {
  const Method& method = *request_.run.method;
  const std::vector<int> heads = selection.locals();
  std::unique_ptr<DenseReference> dense;  // the variants'
  if ((allocates() || request_.max_error) && fitted(dump)) dense = engine.dense_reference(inputs);
  for (std::size_t v = 0; v < fit_.variants_.size(); ++v) {
    const Params& params = fit_.variants_[v].params;
    std::vector<KnobCurve> curves = knob_curves(engine, inputs, method, params, request_.grid, heads);
    if (allocates()) {
      auto errors =
          error_curves(engine, inputs, method, params, heads, curves, *dense, request_.allocate->out_rel_l2);
      for (std::size_t h = 0; h < heads.size(); ++h)
        work.heads[h].errors[v * dumps() + dump] = std::move(errors[h]);
      continue;
    }
    std::vector<double> targets(heads.size(), request_.target_recall);
    if (dense) {
      targets = recall_for_error(engine, inputs, method, params, heads, curves, *dense,
                                 request_.target_recall, *request_.max_error);
    }
    for (std::size_t h = 0; h < heads.size(); ++h)
      work.heads[h].curves[v].texts[dump] = {std::move(curves[h]), targets[h]};
  }
}

/// The settings of a group whose heads each reach their target.
void Fit::Batch::settle(GroupWork& work) const {
  for (const HeadWork& head : work.heads) {
    for (const FitSet& set : fit_.sets_) {
      const HeadSetting setting = fit_head(head.curves, fit_.variants_, set.fitted, request_.rule);
      FittedHead fitted{setting, fit_.variants_[setting.variant].choice, {}, {}};
      for (const std::size_t n : set.checked) {
        const KnobCurve& curve = head.curves[setting.variant].texts[n].curve;
        HeadAt kept = HeadAt::of(curve.points.point(curve.at(setting.knob)));
        kept.knob = setting.knob;
        fitted.kept.push_back(kept);
      }
      if (measures()) fitted.measured.resize(set.checked.size());
      work.result.fits.push_back(std::move(fitted));
    }
  }
}

void Fit::Batch::make_fronts(GroupWork& work) const {
  for (HeadWork& head : work.heads) {
    std::vector<VariantErrors> variants;
    for (std::size_t v = 0; v < fit_.variants_.size(); ++v) {
      variants.push_back({fit_.variants_[v].cost, {}});
      for (const std::size_t n : fit_.sets_[0].fitted)
        variants.back().texts.push_back(&*head.errors[v * dumps() + n]);
    }
    head.front = error_front(variants, request_.rule.on_each_text);
    head.errors.clear();
  }
}

/// The cheapest settings with which the mean error of the batch's heads is the goal; heads of groups that
/// failed have no fronts.
void Fit::Batch::allocate() {
  std::vector<Front> fronts;
  for (const GroupWork& work : works_)
    for (const HeadWork& head : work.heads)
      if (!head.front.settings.empty()) fronts.push_back(head.front.view());
  if (fronts.empty()) return;
  const Allocation found = allocate_for_gain(fronts, 1 - request_.allocate->out_rel_l2);
  std::size_t at = 0;
  for (GroupWork& work : works_) {
    for (const HeadWork& head : work.heads) {
      if (head.front.settings.empty()) continue;
      const HeadSetting setting = head.front.settings[found.point[at++]];
      FittedHead fitted{setting, fit_.variants_[setting.variant].choice, {}, {}};
      fitted.measured.resize(fit_.sets_[0].checked.size());
      work.result.fits.push_back(std::move(fitted));
    }
  }
}

/// Runs the plans at the knobs of every set that looks at this dump.
void Fit::Batch::add_plans(const GroupSelection& selection, Engine& engine, const Inputs& inputs,
                           std::size_t dump, GroupWork& work) const {
  const auto dense = engine.dense_reference(inputs);
  const std::vector<int> locals = selection.locals();
  const std::size_t sets = fit_.sets_.size();
  for (std::size_t s = 0; s < sets; ++s) {
    const std::vector<std::size_t>& checked = fit_.sets_[s].checked;
    const auto found = std::ranges::find(checked, dump);
    if (found == checked.end()) continue;
    const auto at = static_cast<std::size_t>(found - checked.begin());
    std::vector<double> knobs;
    std::vector<Params> params;
    for (std::size_t h = 0; h < locals.size(); ++h) {
      const HeadSetting& setting = work.result.fits[h * sets + s].setting;
      knobs.push_back(setting.knob);
      if (fit_.variants_.size() > 1) params.push_back(fit_.variants_[setting.variant].params);
    }
    const auto replays = measure_heads(engine, inputs, *request_.run.method, request_.run.params, locals,
                                       knobs, *dense, params);
    for (std::size_t h = 0; h < locals.size(); ++h) work.result.fits[h * sets + s].measured[at] = replays[h];
  }
}

Fit::Fit(const DumpStream& stream, std::vector<const DumpReader*> dumps, std::vector<GroupSelection> groups,
         std::vector<FitSet> sets, FitRequest request)
    : stream_(stream),
      dumps_(std::move(dumps)),
      groups_(std::move(groups)),
      sets_(std::move(sets)),
      request_(std::move(request)),
      variants_(head_variants(request_.run, request_.choices)) {
  if (request_.max_error && !request_.rule.on_each_text)
    fail_usage("a bound of the output error holds on each text: it needs a fit on each of them");
  if (request_.allocate && sets_.size() > 1)
    fail_usage("an allocation goes over one set of texts, not {}", sets_.size());
}

/// All groups: layer by layer if plans are run, so that a killed fit has finished most of what it read.
void Fit::run(const Steps& steps) const {
  const bool of_model = request_.allocate && request_.allocate->scope == AllocationScope::model;
  const bool together = of_model || !(request_.measure || request_.allocate);
  for (std::size_t first = 0; first < groups_.size();) {
    std::size_t end = first;
    while (end < groups_.size() && (together || groups_[end].layer == groups_[first].layer)) ++end;
    Batch(*this, steps, first, end - first).run();
    first = end;
  }
}

std::vector<ChosenHead> Fit::chosen(const FittedGroup& group, std::size_t set) const {
  std::vector<ChosenHead> heads;
  const GroupSelection& selection = groups_[group.index];
  for (std::size_t at = set; at < group.fits.size(); at += sets_.size()) {
    std::vector<ChosenHead> texts;
    for (std::size_t n = 0; n < sets_[set].checked.size(); ++n) {
      if (!sets_[set].fits(sets_[set].checked[n])) continue;
      texts.push_back({.layer = selection.layer,
                       .head = selection.heads[at / sets_.size()],
                       .at = group.fits[at].at(n),
                       .params = group.fits[at].params});
    }
    if (!texts.empty()) heads.push_back(mean_over_texts(texts));
  }
  return heads;
}

}  // namespace anchor
