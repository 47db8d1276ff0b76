#include "anchor/tuning/tally.hpp"

#include <fmt/format.h>

namespace anchor {

void Tally::add(const ChosenHead& head, double target_recall) {
  const double reached = head.at.mass_recall;
  ++heads;
  reach += reached >= target_recall;
  density += head.at.density;
  mass_recall += reached;
  const std::string place = fmt::format("{}:{}", head.layer, head.head);
  if (reached < worst) {
    worst = reached;
    worst_head = place;
  }
  if (!head.at.out_rel_l2) return;
  const double off = *head.at.out_rel_l2, p05 = head.at.mass_recall_p05.value_or(0);
  error += off;
  if (off > worst_error) {
    worst_error = off;
    worst_error_head = place;
  }
  if (p05 < worst_p05) {
    worst_p05 = p05;
    worst_p05_head = place;
  }
}

}  // namespace anchor
