#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// A share of the questions of one setting, seen together.
struct AnswerSummary {
  EvalResult result;
  std::optional<double> density, attention_ms;  ///< means over the questions
};

/// What rows of kind eval say about one setting: a method with its parameters and what its knobs were found
/// for, on one model.
struct AnswerSet {
  using Place = std::pair<std::string, int>;  ///< kind and length

  std::string label;  ///< the method, and the parameters in which its settings differ
  std::string point;  ///< "density 0.15": what the knobs were found for; empty if they were given
  std::string model, method;
  std::vector<const ResultRow*> questions;  ///< rows of scope task, in their order; they must outlive this
  std::map<Place, AnswerSummary> places;
  AnswerSummary all;  ///< of the places that count

  std::string name() const { return point.empty() ? label : label + " at " + point; }
  /// Does dense attention get enough of a place right (least_dense_accuracy)?
  bool counts(const Place& place) const;
  /// The place of the largest share of flips among those that count; of equal shares the first. Nothing
  /// without flips.
  std::optional<Place> worst() const;
};

/// The settings that rows hold, in the order in which they first come. Questions are summed up here where
/// their rows are there; of settings without them the rows of scope kind and all are taken. Rows of other
/// kinds and rows without a result are left out. A data error names a question that has two rows of one
/// setting.
std::vector<AnswerSet> answer_sets(std::span<const ResultRow> rows);

/// Two settings on the questions that both answered, of places that count for the first.
struct AnswerPair {
  int n = 0;
  int first_only = 0, second_only = 0;  ///< right with one alone
  double p = 1;                         ///< McNemar's exact two-sided p-value
};
AnswerPair compare_answers(const AnswerSet& first, const AnswerSet& second);

/// How one head's evidence goes with flips, over the questions that dense attention gets right.
struct StarvedHead {
  int layer = 0, head = 0;
  double kept = 1;             ///< mean share of the evidence's tokens in its plan
  double kept_of_flipped = 1;  ///< the same over the questions that flip
  double correlation = 0;  ///< Pearson's, of what is not kept and flips (0 or 1); NaN where one is constant
};
/// By layer and head; empty unless rows say what every head keeps (`evidence_by_head`), some question flips,
/// and some does not. Of places that count.
std::vector<StarvedHead> starved_heads(const AnswerSet& set);
/// Questions that the correlations are over, and flips among them.
std::pair<int, int> starved_questions(const AnswerSet& set);

/// The needle picture: which share of what dense attention gets right stays right, by depth and length.
struct DepthMap {
  std::vector<int> lengths;
  int bins = 0;                ///< equal parts of the depths 0 to 1
  std::vector<double> kept;    ///< [bins, lengths]; NaN where dense attention gets nothing right
  std::vector<int> questions;  ///< [bins, lengths]: that it gets right

  std::size_t at(int bin, std::size_t length) const {
    return static_cast<std::size_t>(bin) * lengths.size() + length;
  }
};
/// Over the questions that have a depth and whose places count.
DepthMap depth_map(const AnswerSet& set, int bins);

}  // namespace anchor
