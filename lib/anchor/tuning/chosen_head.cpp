#include "anchor/tuning/chosen_head.hpp"

#include <algorithm>

namespace anchor {

ChosenHead ChosenHead::of(const ResultRow& row) {
  return {.layer = row.layer.value(),
          .head = row.head.value(),
          .at = {.knob = row.value.value_or(0),
                 .density = row.density.value_or(0),
                 .mass_recall = row.mass_recall.value_or(0),
                 .work_density = row.work_density,
                 .out_rel_l2 = row.out_rel_l2,
                 .mass_recall_p05 = row.mass_recall_p05,
                 .mass_recall_min = row.mass_recall_min}};
}

ChosenHead mean_over_texts(std::span<const ChosenHead> texts) {
  const ChosenHead& first = texts.front();
  ChosenHead mean{
      .layer = first.layer, .head = first.head, .at = {.knob = first.at.knob}, .params = first.params};
  const ChosenMeans means = chosen_means(texts);
  mean.at.density = means.density;
  mean.at.mass_recall = means.mass_recall;
  return mean;
}

ChosenMeans chosen_means(std::span<const ChosenHead> heads) {
  ChosenMeans means;
  const auto count = static_cast<double>(heads.size());
  for (const ChosenHead& head : heads) {
    means.density += head.at.density / count;
    means.mass_recall += head.at.mass_recall / count;
  }
  return means;
}

std::size_t heads_below(std::span<const ChosenHead> heads, double mass_recall) {
  return static_cast<std::size_t>(std::ranges::count_if(
      heads, [&](const ChosenHead& head) { return head.at.mass_recall < mass_recall; }));
}

}  // namespace anchor
